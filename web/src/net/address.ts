// Addresses, and who reaches them.

/** The host of an enode, a URL, `host:port` or a multiaddr; empty where there is none. */
export function hostOf(address: string): string {
  const multi = /^\/(?:ip4|ip6|dns|dns4|dns6)\/([^/]+)/.exec(address)
  if (multi) return multi[1]!
  const [, bracketed, name] = /^(?:[a-z][a-z0-9+.-]*:\/\/)?(?:[^/@]*@)?(?:\[([^\]]+)\]|([^:/?#]+))/i.exec(address) ?? []
  return bracketed ?? name ?? ''
}

/** Whether a host is this machine itself, as nobody else reaches it. */
export const isLoopback = (host: string): boolean =>
  /^(localhost|127(\.\d+){3}|\[?::1\]?|::ffff:127(\.\d+){3})$/i.test(host) || /\.localhost$/i.test(host)

/** Whether an address is one that only this machine reaches. */
export const isOwn = (address: string): boolean => isLoopback(hostOf(address))
