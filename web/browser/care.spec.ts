// What goes wrong elsewhere, and how the page bears it: daemons that lie or fail, many
// tabs, small screens, keyboards, and those who listen instead of looking.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Locator, Page, Route } from '@playwright/test'
import type { Found, Head, Health, Share, Status, Traffic } from '../src/net/api.ts'
import { expect, open, settled, test } from './house.ts'

const CHAT = '#/read?chat=status&from=2018-09-29'

/** Lets the daemon answer, and changes what it said. */
const bend = async <T>(page: Page, path: RegExp, change: (told: T) => unknown) =>
  page.route(path, async (route: Route) => {
    const response = await route.fetch()
    await route.fulfill({ response, json: change((await response.json()) as T) })
  })

const fails = async (page: Page, path: RegExp, status: number, error: string, hint?: string) =>
  page.route(path, (route) => route.fulfill({ status, json: { error, hint } }))

/** How far down an element stands in the window. */
const top = (of: Locator) => of.evaluate((element) => Math.round(element.getBoundingClientRect().top))

test('the times of messages are those of the bytes that were hashed, whatever the daemon says', async ({ page, daemon }) => {
  const hashes = new Map<string, number>()
  await bend<Found>(page, /api\/v1\/query/, (found) => ({
    ...found,
    envelopes: found.envelopes.map((one) => {
      hashes.set(one.hash, one.sent)
      return { ...one, sent: 1_700_000_000, size: 1 }
    }),
  }))
  await open(page, daemon, CHAT)
  await expect(page.getByTestId('opened')).toHaveText('50 messages')
  const shown = await page.getByTestId('messages').locator('> li').evaluateAll((items) =>
    items.map((item) => [item.getAttribute('data-hash')!, item.querySelector('time')!.dateTime] as const))
  for (const [hash, time] of shown) expect(Date.parse(time) / 1000).toBe(hashes.get(hash))
  expect(shown.map(([, time]) => time)).toEqual(shown.map(([, time]) => time).sort())
})

test('an envelope of another topic than was asked for is not shown as a message', async ({ page, daemon }) => {
  await bend<Found>(page, /api\/v1\/query/, (found) => ({
    ...found, envelopes: found.envelopes.map((one, i) => (i < 2 ? { ...one, topic: '0x00000001' } : one)),
  }))
  await open(page, daemon, CHAT)
  await expect(page.getByTestId('opened')).toHaveText('48 messages')
  await page.getByText('2 envelopes that are no message').click()
  await expect(page.getByText('it is of another topic than was asked for').first()).toBeVisible()
})

/** Makes a tab believe that it is hidden, or seen again, as a browser tells it. */
const hide = (page: Page, isHidden: boolean) => page.evaluate((hidden) => {
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden })
  document.dispatchEvent(new Event('visibilitychange'))
}, isHidden)

test('more tabs than a browser has connections open, and one that is looked at again goes on', async ({ browser, daemon }) => {
  const context = await browser.newContext()
  const tabs: Page[] = []
  for (let i = 0; i < 8; i++) {
    const tab = await context.newPage()
    tabs.push(tab)
    await open(tab, daemon, '#/overview')
    await expect(tab.getByText('live', { exact: true })).toBeVisible({ timeout: 20_000 })
    await hide(tab, true)
    await expect(tab.getByText('live', { exact: true })).toHaveCount(0)
  }
  await hide(tabs[0]!, false)
  await expect(tabs[0]!.getByText('live', { exact: true })).toBeVisible({ timeout: 20_000 })
  await context.close()
})

test('who listens is told how the daemon is, and not each second how old an envelope is', async ({ page, daemon }) => {
  const now = Math.floor(Date.now() / 1000)
  await page.route(/api\/v1\/events/, (route) => route.abort())
  await bend<Health>(page, /\/health$/, (health) => ({ ...health, ok: true, peers: 3, takes_in: true }))
  await bend<Status>(page, /api\/v1\/status/, (status) => ({ ...status, envelopes: { ...status.envelopes, last_stored: now - 100 } }))
  await open(page, daemon, '#/overview')
  await expect(page.locator('.pulse')).toContainText('last envelope')
  await expect(page.locator('.pulse').getByRole('status')).toHaveText('archiving')
})

test('the map of days is one stop for the keyboard, and arrows lead through it', async ({ clean, daemon }) => {
  await open(clean, daemon, '#/archive/2018')
  const stops = clean.locator('.heat a[tabindex="0"]')
  await expect(stops).toHaveCount(1)
  await clean.locator('[data-day="2018-09-15"]').focus()
  await clean.keyboard.press('ArrowRight')
  await expect(clean.locator('[data-day="2018-09-16"]')).toBeFocused()
  await clean.keyboard.press('ArrowDown')
  const below = await clean.evaluate(() => (document.activeElement as HTMLElement).dataset['day'])
  expect(below).toMatch(/^2018-1[0-2]/)
  await clean.keyboard.press('ArrowUp')
  await clean.keyboard.press('Home')
  await expect(stops).toHaveCount(1)
  await expect(stops).toBeFocused()
  const first = await stops.getAttribute('data-day')
  await clean.keyboard.press('Enter')
  await expect(clean.getByRole('heading', { name: first! })).toBeVisible()
})

test('every day is in a table too, below its month', async ({ clean, daemon }) => {
  await open(clean, daemon, '#/archive/2018')
  await clean.getByRole('button', { name: '2018-09' }).click()
  await clean.getByRole('group', { name: 'Months of 2018' }).getByRole('link', { name: '2018-09-15', exact: true }).click()
  await expect(clean.getByTestId('day-count')).toBeVisible()
})

test('a finger hits days, links and buttons on a telephone', async ({ browser, daemon }) => {
  test.setTimeout(120_000)
  const page = await browser.newPage({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true })
  const { head } = await daemon.api<Head>('head')
  for (const hash of ['#/overview', '#/archive/2018-09-15', '#/explore?topic=0xcd423760', `#/explore/${head}`, CHAT, '#/mirrors', '#/peers', '#/verify', '#/diagnostics']) {
    await open(page, daemon, hash)
    const small = await page.locator('a, button, summary, input, select').evaluateAll((all) => all
      .map((one) => ({ name: one.textContent || one.getAttribute('aria-label'), box: one.getBoundingClientRect(), skip: one.closest('.skip') !== null }))
      .filter(({ box, skip }) => !skip && box.width > 0 && (box.width < 24 || box.height < 24))
      .map(({ name, box }) => `${name}: ${box.width.toFixed(1)} x ${box.height.toFixed(1)}`))
    expect(small, hash).toEqual([])
  }
  await page.close()
})

test('who asks for more by keyboard stays where the list grows, and is told where it ends', async ({ clean, daemon }) => {
  await open(clean, daemon, '#/explore?topic=0xcd423760&from=2018-09-28')
  const more = clean.getByRole('button', { name: 'More', exact: true })
  const rows = clean.getByTestId('envelopes').locator('tr')
  await expect(rows).toHaveCount(50)
  await more.focus()
  for (let before = 50; await more.isVisible(); before = await rows.count()) {
    await expect(more).toBeFocused()
    await clean.keyboard.press('Enter')
    await expect(rows).not.toHaveCount(before)
    await settled(clean)
  }
  await expect(clean.getByText('These are all.')).toBeFocused()
})

test('earlier messages come above what is read, which stays where it is, as does the focus', async ({ clean, daemon }) => {
  await open(clean, daemon, CHAT)
  const messages = clean.getByTestId('messages').locator('> li')
  await expect(messages).toHaveCount(50)
  const first = clean.locator(`[data-hash="${await messages.first().getAttribute('data-hash')}"]`)
  const earlier = clean.getByRole('button', { name: 'Earlier messages' })
  await earlier.focus()
  const before = await top(first)
  await clean.keyboard.press('Enter')
  await expect(messages).not.toHaveCount(50)
  await settled(clean)
  expect(Math.abs((await top(first)) - before)).toBeLessThan(3)
  if (await earlier.count()) await expect(earlier).toBeFocused()
  else await expect(clean.getByText('There is nothing earlier.')).toBeFocused()
  await clean.getByRole('button', { name: 'to the newest' }).click()
  await expect(messages.last()).toBeInViewport()
  await expect(messages.last()).toBeFocused()
})

test('back from a chat to no chat takes its messages away', async ({ clean, daemon }) => {
  await open(clean, daemon, '#/read')
  await clean.getByLabel('Name of the chat').fill('status')
  await clean.getByRole('button', { name: 'Read' }).click()
  await expect(clean.getByTestId('opened')).toBeVisible({ timeout: 20_000 })
  await clean.goBack()
  await expect(clean.getByTestId('messages')).toHaveCount(0)
  await expect(clean.getByLabel('Name of the chat')).toHaveValue('')
})

test('an error of the daemon is told, not waited for', async ({ page, daemon }) => {
  await fails(page, /api\/v1\/stats/, 500, 'the archive cannot be read', '`gwa fsck` names the file')
  await open(page, daemon, '#/overview')
  await expect(page.getByRole('alert')).toContainText('the archive cannot be read')
  await expect(page.getByTestId('count')).toHaveText('not known')
  await expect(page.getByTestId('waiting')).toHaveText('not known')
})

test('an archive without a head is one that begins, not one that fails', async ({ page, daemon }) => {
  await fails(page, /\/head\?|api\/v1\/(calendar|heads|query|share|gaps|traffic)/, 404, 'there is no head yet', 'wait')
  for (const hash of ['#/overview', '#/archive', '#/explore?topic=0xcd423760', '#/read?chat=status']) {
    await open(page, daemon, hash)
    await expect(page.getByText('There is no head yet.').first()).toBeVisible()
    await expect(page.getByRole('alert'), hash).toHaveCount(0)
  }
})

test('hours that are not here, and silences without end, are told as what they are', async ({ page, daemon }) => {
  await bend<Traffic>(page, /api\/v1\/traffic/, ({ hours }) => ({ hours: hours.map((hour, i) => (i < 24 ? { ...hour, known: false } : hour)) }))
  await page.route(/api\/v1\/gaps/, (route) => route.fulfill({ json: { from: 0, to: 2_592_000, count: 0, gaps: [{ from: 0, until: 2_592_000, expected: null, had: 0 }] } }))
  await open(page, daemon, '#/overview')
  await expect(page.getByTestId('unknown')).toContainText('24 hours are not known')
  await expect(page.locator('.bars .unknown')).toHaveCount(24)
  await expect(page.getByText('nothing came in all this time')).toBeVisible()
  await expect(page.getByText('No hour was silent')).toHaveCount(0)
})

test('a month in which nothing came is not told to be one without gaps', async ({ page, daemon }) => {
  await page.route(/api\/v1\/gaps/, (route) => route.fulfill({ json: { from: 0, to: 2_592_000, count: 0, gaps: [] } }))
  await open(page, daemon, '#/overview')
  await expect(page.getByText('Nothing came in all this time')).toBeVisible()
  await expect(page.getByText('No hour was silent')).toHaveCount(0)
})

test('what the daemon tells only with its token is shown with it, and the token goes nowhere else', async ({ page, daemon }) => {
  const withToken: string[] = []
  page.on('request', (request) => {
    if (request.headers()['authorization']) withToken.push(new URL(request.url()).pathname)
  })
  await page.route(/api\/v1\/(diagnostics|mirrors|peers)/, (route) => (
    route.request().headers()['authorization'] === `Bearer ${daemon.token}`
      ? route.continue()
      : route.fulfill({ status: 401, json: { error: 'this needs the token' } })
  ))
  for (const name of ['mirrors', 'peers', 'diagnostics']) {
    await open(page, daemon, `#/${name}`)
    await expect(page.locator('input[name=token]')).toHaveCount(1)
    await expect(page.getByRole('alert')).toHaveCount(0)
  }
  await page.locator('input[name=token]').fill('0'.repeat(64))
  await page.getByRole('button', { name: 'Show' }).click()
  await expect(page.getByRole('alert')).toContainText('rpc.token')
  await page.locator('input[name=token]').fill(daemon.token)
  await page.getByRole('button', { name: 'Show' }).click()
  await expect(page.getByRole('heading', { name: 'Settings' })).toBeVisible()
  await page.getByRole('link', { name: 'Peers', exact: true }).click()
  await expect(page.getByText('Nobody was dropped', { exact: false }).or(page.getByRole('group', { name: 'Drops' }))).toBeVisible()
  await page.getByRole('link', { name: 'Overview', exact: true }).click()
  await settled(page)
  expect(new Set(withToken)).toEqual(new Set(['/api/v1/diagnostics', '/api/v1/peers']))
})

test('a token that would cross a network readable is warned of', async ({ page, daemon }) => {
  await open(page, daemon, '#/verify')
  await expect(page.getByLabel(/^Token/)).toBeVisible()
  await expect(page.getByText('plain HTTP from another machine')).toHaveCount(0)
  await page.route('http://192.0.2.1/**', async (route) => {
    const { pathname, search } = new URL(route.request().url())
    if (pathname.endsWith('/events')) return route.abort()
    await route.fulfill({ response: await route.fetch({ url: daemon.url + pathname.slice(1) + search }) })
  })
  await page.goto('http://192.0.2.1/#/verify')
  await expect(page.getByText('plain HTTP from another machine')).toBeVisible()
})

test('times and days that there are not are told, and asked of nobody', async ({ page, daemon }) => {
  const asked: string[] = []
  page.on('request', (request) => asked.push(request.url()))
  for (const hash of ['#/explore?from=2018-13-01', '#/explore?to=yesterday', '#/read?chat=status&from=soon']) {
    await open(page, daemon, hash)
    await expect(page.getByRole('alert'), hash).toContainText('2018-10-01T11:25')
  }
  expect(asked.filter((url) => url.includes('/query'))).toEqual([])
  await open(page, daemon, '#/archive/2018-13-45')
  await expect(page.getByRole('alert')).toContainText('2018-13-45')
  await expect(page.locator('.years a').first()).toBeVisible()
})

test('a day in the address is a whole day', async ({ clean, daemon }) => {
  const found = await daemon.api<Found>('api/v1/query?topic=0xcd423760&from=1536969600&to=1537055999&limit=50')
  await open(clean, daemon, '#/explore?topic=0xcd423760&from=2018-09-15&to=2018-09-15')
  await expect(clean.getByTestId('envelopes').locator('tr')).toHaveCount(found.envelopes.length)
  await expect(clean.locator('input[name=to]')).toHaveValue('2018-09-15T23:59:59')
})

test('a page that cannot be drawn says so, and the others go on', async ({ page, daemon }) => {
  await page.route(/api\/v1\/diagnostics/, (route) => route.fulfill({ json: { settings: 1 } }))
  await open(page, daemon, '#/diagnostics')
  await expect(page.getByRole('alert')).toContainText('cannot be drawn')
  await page.getByRole('link', { name: 'Verify', exact: true }).click()
  await expect(page.getByRole('button', { name: 'Verify now' })).toBeVisible()
  await expect(page.getByRole('alert')).toHaveCount(0)
})

test('addresses that only this machine reaches are said to be so', async ({ clean, daemon }) => {
  await open(clean, daemon, '#/overview')
  const addresses = clean.getByRole('region', { name: 'Addresses' })
  await expect(addresses.getByText('this machine only')).not.toHaveCount(0)
  await expect(addresses.getByRole('button', { name: /QR/ })).toHaveCount(0)
  const share = await daemon.api<Share>('api/v1/share')
  const isBare = !share.enode && !share.http && !share.p2p?.length && !share.urls?.length
  await expect(clean.getByText('It names no address')).toHaveCount(isBare ? 1 : 0)
})

test('what the page tells to type works while the daemon runs', async ({ clean, daemon }) => {
  await open(clean, daemon, '#/peers')
  const line = (await clean.locator('.command code').textContent())!
  const enode = `enode://${'79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8'}@127.0.0.1:1`
  const { stdout } = await promisify(execFile)('sh', ['-c', line.replace('DIR', `'${daemon.data}'`).replace('ENODE', enode)])
  expect(JSON.parse(stdout)).toMatchObject({ result: true })
})

test('rows of heads grow with what they say', async ({ browser, daemon }) => {
  const page = await browser.newPage({ viewport: { width: 1000, height: 800 } })
  const cid = (i: number) => `bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52z${'abcdefgh'[i]}`
  await bend<{ heads: Head[] }>(page, /api\/v1\/heads/, (told) => ({
    ...told, heads: told.heads.map((head, i) => (i === 0 ? { ...head, name: 'n'.repeat(64), merged: [0, 1, 2, 3].map(cid) } : head)),
  }))
  await open(page, daemon, '#/archive')
  const rows = await page.locator('.lineage li').evaluateAll((items) => items.map((item) => ({
    row: item.getBoundingClientRect(), svg: item.querySelector('svg')!.getBoundingClientRect(),
    links: [...item.querySelectorAll('a')].map((link) => link.getBoundingClientRect().bottom),
  })))
  expect(rows[0]!.links.length).toBe(5)
  expect(rows[0]!.row.height).toBeGreaterThan(90)
  for (const { row, svg, links } of rows) {
    expect(Math.abs(row.height - svg.height)).toBeLessThan(1)
    expect(svg.width).toBeGreaterThan(20)
    for (const bottom of links) expect(bottom).toBeLessThanOrEqual(row.bottom)
  }
  await page.close()
})

test('what colour alone tells is seen where the system forces its own', async ({ clean, daemon }) => {
  await clean.emulateMedia({ forcedColors: 'active' })
  await open(clean, daemon, '#/archive/2018')
  const seen = await clean.locator('.heat figcaption .cell').evaluateAll((cells) => cells.map((cell) => getComputedStyle(cell).backgroundColor))
  expect(new Set(seen).size).toBeGreaterThan(5)
  const dot = await clean.locator('.pulse .dot').evaluate((one) => [getComputedStyle(one).backgroundColor, getComputedStyle(document.documentElement).backgroundColor])
  expect(dot[0]).not.toBe(dot[1])
})

test('the notices of packages come with the page', async ({ clean, daemon }) => {
  await open(clean, daemon, '#/overview')
  const href = await clean.getByRole('link', { name: 'Licences' }).getAttribute('href')
  const notices = await (await fetch(daemon.url + href)).text()
  for (const name of ['preact', '@noble/curves', 'multiformats', 'uqr', 'Apache License']) expect(notices).toContain(name)
})
