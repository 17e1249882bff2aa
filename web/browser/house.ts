// A live daemon over the real corpus, and a browser that may see nothing else.
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, get, request as ask, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { test as base, expect, type Page } from '@playwright/test'
import { gcm } from '@noble/ciphers/aes.js'
import { encode, topicOfChat } from '../src/whisper/envelope.ts'
import { keyOfPassword } from '../src/whisper/message.ts'
import { concat, fromHex } from '../src/whisper/bytes.ts'

const GWA = process.env['GWA_BIN'] ?? '../target/debug/gwa'
const CORPUS = '../fixtures/corpus'
/** A folder whose page is shown instead of the one that the daemon carries, so that a
 * change of the page needs no new daemon. */
const DIST = process.env['GWA_DIST']

/** Texts that would do something if they were markup, or were shown as they are. */
export const HOSTILE = {
  name: '<img src=x onerror=alert(1)>',
  agent: '"><script>alert(2)</script>',
  text: '<script>alert(3)</script>\u202egnp.exe\u0000 [x](javascript:alert(4))',
  chat: 'hostile',
}

export interface Daemon {
  url: string
  token: string
  /** Its data folder. */
  data: string
  /** What it answers, beside what the page shows. */
  api: <T>(path: string) => Promise<T>
}

const run = async (...args: string[]): Promise<string> => {
  const { stdout } = await promisify(execFile)(GWA, args, { timeout: 120_000 })
  return stdout
}

/** An envelope of the chat `HOSTILE.chat` that says `text`, sent at `sent`. */
function envelope(text: string, sent: number): Uint8Array {
  const said = [text, 'text/plain', '~:public-group-user-message', 1, sent * 1000, ['^ ', '~:chat-id', HOSTILE.name]]
  const payload = new TextEncoder().encode(JSON.stringify(['~#c4', said]))
  const plain = concat(Uint8Array.of(2, payload.length & 255, payload.length >> 8), payload, new Uint8Array(9))
  const nonce = new Uint8Array(12).fill(5)
  const { bytes: key } = keyOfPassword(HOSTILE.chat)
  const data = concat(gcm(key, nonce).encrypt(plain), nonce)
  return encode({ expiry: sent + 50, ttl: 50, data, nonce: 0xffff_ffff_ffff_fff1n }, fromHex(topicOfChat(HOSTILE.chat)))
}

/** An archive that was written by two keys, united from two histories, with a hostile name. */
async function build(dir: string): Promise<string> {
  const [one, two, mine] = ['one', 'two', 'mine'].map((name) => join(dir, name)) as [string, string, string]
  const rlps = readFileSync(`${CORPUS}/envelopes.rlps`)
  const lines = readFileSync(`${CORPUS}/corpus.jsonl`, 'utf8').split('\n').filter(Boolean)
  const at = (line: number): number => (JSON.parse(lines[line]!) as { offset: number }).offset
  const [first, second] = [at(7_000), at(14_000)]
  const part = (name: string, bytes: Uint8Array): string => {
    const path = join(dir, name)
    writeFileSync(path, bytes)
    return path
  }
  await run('--data', one, 'init')
  await run('--data', one, 'import', part('a.rlps', rlps.subarray(0, first)))
  await run('--data', one, 'seal')
  await run('--data', two, 'init')
  await run('--data', two, 'import', part('b.rlps', rlps.subarray(second)))
  await run('--data', two, 'seal')
  await run('--data', mine, 'fork', one, '--name', HOSTILE.name, '--full')
  await run('--data', mine, 'import', part('c.rlps', rlps.subarray(first, second)))
  await run('--data', mine, 'seal')
  await run('--data', mine, 'import', part('d.rlps', envelope(HOSTILE.text, 1_538_000_000)))
  await run('--data', mine, 'seal')
  await run('--data', mine, 'merge', two)
  return mine
}

async function serve(data: string): Promise<{ child: ChildProcess; url: string }> {
  const child = spawn(GWA, ['--data', data, 'serve', '--listen', '127.0.0.1:0', '--http', '127.0.0.1:0'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const file = join(data, 'run.json')
  const deadline = Date.now() + 60_000
  for (;;) {
    if (child.exitCode !== null) throw new Error(`gwa serve ended with ${child.exitCode}`)
    if (Date.now() > deadline) throw new Error('gwa serve did not start')
    if (existsSync(file)) {
      const { http } = JSON.parse(readFileSync(file, 'utf8')) as { http: string | null }
      const url = `${http?.startsWith('http') ? http : `http://${http}`}/`
      if (http && (await answers(url))) return { child, url }
    }
    await new Promise((done) => setTimeout(done, 50))
  }
}

/** Stands before the daemon and passes everything on, but for the files of the page:
 * their bytes are those of `dist`, their headers the daemon's. */
async function withPageOf(dist: string, daemon: string): Promise<{ server: Server; url: string }> {
  const server = createServer((asked, answer) => {
    const { pathname } = new URL(asked.url ?? '/', daemon)
    const file = join(dist, pathname === '/' ? 'index.html' : pathname)
    const bytes = /^\/[\w.-]*$/.test(pathname) && existsSync(file) ? readFileSync(file) : null
    const headers = { ...asked.headers }
    if (bytes) delete headers['if-none-match']
    const passed = ask(new URL(asked.url ?? '/', daemon), { method: asked.method ?? 'GET', headers }, (told) => {
      answer.writeHead(bytes ? 200 : (told.statusCode ?? 502), { ...told.headers, ...(bytes && { 'content-length': bytes.length }) })
      if (bytes) {
        told.resume()
        answer.end(bytes)
      } else told.pipe(answer)
    })
    passed.on('error', () => answer.destroy())
    answer.on('close', () => passed.destroy())
    asked.pipe(passed)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` }
}

/** Asks as a mirror does: the daemon knows browsers, and Node's `fetch`, by what they add. */
async function follow(url: string): Promise<void> {
  const request = get(url, { headers: { 'user-agent': HOSTILE.agent } })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  response.resume()
  await once(response, 'end')
}

/** Whether the explorer is there. */
async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url)).ok
  } catch {
    return false
  }
}

/** The daemon of all tests, and a page that must stay clean: no error on its console,
 * no request to anywhere else, no dialog. */
export const test = base.extend<{ clean: Page }, { daemon: Daemon }>({
  daemon: [
    async ({}, use) => {
      const dir = mkdtempSync(join(tmpdir(), 'gwa-explorer-'))
      let child: ChildProcess | null = null
      let front: Server | null = null
      try {
        const data = await build(dir)
        const started = await serve(data)
        child = started.child
        let { url } = started
        if (DIST) ({ server: front, url } = await withPageOf(DIST, url))
        const token = readFileSync(join(data, 'rpc.token'), 'utf8').trim()
        // Somebody who calls himself by markup follows the archive.
        await follow(`${url}head`)
        await use({ url, token, data, api: async (path) => (await fetch(url + path)).json() })
      } finally {
        front?.closeAllConnections()
        front?.close()
        if (child && child.exitCode === null) {
          child.kill('SIGTERM')
          const gone = once(child, 'exit')
          const patience = setTimeout(() => child?.kill('SIGKILL'), 20_000)
          await gone
          clearTimeout(patience)
        }
        rmSync(dir, { recursive: true, force: true })
      }
    },
    { scope: 'worker', timeout: 240_000 },
  ],
  clean: async ({ page, daemon }, use) => {
    const wrong: string[] = []
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) wrong.push(`console: ${message.text()}`)
    })
    page.on('pageerror', (error) => wrong.push(`error: ${error.message}`))
    page.on('dialog', (dialog) => {
      wrong.push(`dialog: ${dialog.message()}`)
      void dialog.dismiss()
    })
    page.on('request', (request) => {
      if (!request.url().startsWith(daemon.url)) wrong.push(`request: ${request.url()}`)
    })
    page.on('websocket', (socket) => wrong.push(`socket: ${socket.url()}`))
    await use(page)
    expect(wrong).toEqual([])
  },
})

/** Opens a page of the explorer, and waits until it has what it asked for. */
export async function open(page: Page, daemon: Daemon, hash: string): Promise<void> {
  await page.goto(daemon.url + hash)
  await settled(page)
}

export async function settled(page: Page): Promise<void> {
  await expect(page.locator('h1')).toBeVisible()
  await expect(page.locator('.waiting')).toHaveCount(0, { timeout: 20_000 })
}

export const SHOTS = resolve(process.env['GWA_SHOTS'] ?? 'target/shots')
export const count = (value: number): string => new Intl.NumberFormat('en').format(value)
export { expect }
