// How to come by a first peer: what works while the daemon runs.
import { at } from '../net/api.ts'
import { Command } from './parts.tsx'

/** The daemon's JSON-RPC, asked to dial a peer. `DIR` and the enode are for the reader to put in. */
const dial = (): string =>
  `curl ${at('rpc')} -H 'content-type: application/json' -H "authorization: Bearer $(cat DIR/rpc.token)" ` +
  `-d '{"jsonrpc":"2.0","id":1,"method":"admin_addPeer","params":["ENODE"]}'`

export const Connect = () => (
  <>
    <p>To have a peer dialled now, by its enode; <code>DIR</code> is the data folder:</p>
    <Command text={dial()} what="command" />
    <p>To have it dialled at each start, name it in <code>gwa.toml</code> there, <code>peers = ["ENODE"]</code>, and start the daemon again.</p>
  </>
)
