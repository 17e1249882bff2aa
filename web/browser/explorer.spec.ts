import { AxeBuilder } from '@axe-core/playwright'
import { readFileSync } from 'node:fs'
import type { Calendar, DayWindows, Found, Head, Share, Stats, Status, Verify, Year } from '../src/net/api.ts'
import { count, expect, HOSTILE, open, settled, SHOTS, test } from './house.ts'

const PAGES = ['overview', 'archive', 'explore', 'read', 'mirrors', 'peers', 'verify', 'diagnostics']

test('every page opens, says its name, and is free of errors and foreign requests', async ({ clean, daemon }) => {
  await open(clean, daemon, '')
  for (const page of PAGES) {
    const link = clean.getByRole('navigation', { name: 'Pages' }).locator(`a[href="#/${page}"]`)
    await link.click()
    await settled(clean)
    await expect(clean.locator('h1')).toHaveText(new RegExp(page, 'i'))
    await expect(link).toHaveAttribute('aria-current', 'page')
    await expect(clean).toHaveTitle(/Global Whisper Archive/)
    await expect(clean.getByRole('alert')).toHaveCount(0)
  }
})

test('the overview shows what the daemon answers', async ({ clean, daemon }) => {
  await open(clean, daemon, '#/overview')
  const [stats, status, head, share] = await Promise.all([
    daemon.api<Stats>('api/v1/stats'), daemon.api<Status>('api/v1/status'),
    daemon.api<Head>('head'), daemon.api<Share>('api/v1/share'),
  ])
  await expect(clean.getByTestId('count')).toHaveText(count(stats.count))
  await expect(clean.getByTestId('waiting')).toHaveText(count(stats.waiting))
  await expect(clean.getByTestId('peers')).toHaveText(count(status.peers))
  await expect(clean.getByTestId('head').locator('code')).toHaveText(head.head)
  await expect(clean.getByTestId('enode')).toHaveText(status.enode!)
  await expect(clean.getByTestId('share')).toHaveText(share.share)
  expect(share.share).toContain(head.head)
  await clean.getByRole('button', { name: 'QR code', exact: true }).click()
  await expect(clean.getByRole('img', { name: 'The share line as a QR code' })).toBeVisible()
})

test('the calendar leads from the year to a day and its windows, as the daemon counts them', async ({ clean, daemon }) => {
  await open(clean, daemon, '#/archive')
  const calendar = await daemon.api<Calendar>('api/v1/calendar')
  const { months } = await daemon.api<Year>('api/v1/calendar?year=2018')
  const days = months.flatMap((month) => month.days)
  expect(days.length).toBeGreaterThan(28)
  await expect(clean.locator('.years a')).toHaveCount(calendar.years.length)
  for (const day of days) {
    const cell = clean.locator(`a.cell[href="#/archive/${day.day}"]`)
    await expect(cell).toHaveAttribute('title', new RegExp(`^${day.day}: ${count(day.count)} envelopes`))
  }
  await clean.locator('a.cell[href="#/archive/2018-09-15"]').click()
  const told = await daemon.api<DayWindows>('api/v1/days/2018-09-15')
  await expect(clean.getByTestId('day-count')).toHaveText(`${count(told.count)} envelopes`)
  await expect(clean.getByRole('group', { name: 'Windows of 2018-09-15' }).locator('tbody tr')).toHaveCount(told.windows.length)
})

test('the lineage shows every head, the fork and the merge', async ({ clean, daemon }) => {
  await open(clean, daemon, '#/archive')
  const { heads } = await daemon.api<{ heads: Head[] }>('api/v1/heads?limit=50')
  const rows = clean.locator('.lineage li')
  await expect(rows).toHaveCount(heads.length)
  for (const [i, head] of heads.entries()) {
    await expect(rows.nth(i).locator('a').first()).toHaveAttribute('title', head.head)
  }
  expect(new Set(heads.map((head) => head.key)).size).toBe(2)
  await expect(rows.filter({ hasText: 'fork' })).toHaveCount(1)
  await expect(rows.filter({ hasText: 'merge' })).toHaveCount(heads.filter((head) => head.merged.length > 0).length)
})

test('a topic is asked for, and what is found is what the daemon finds, page by page', async ({ clean, daemon }) => {
  await open(clean, daemon, '#/explore')
  await clean.getByRole('textbox', { name: 'Topic' }).fill('0xcd423760')
  await clean.getByLabel('Order').selectOption('oldest')
  await clean.getByRole('button', { name: 'Find', exact: true }).click()
  await settled(clean)
  const first = await daemon.api<Found>('api/v1/query?topic=0xcd423760&limit=50&order=oldest')
  const second = await daemon.api<Found>(`api/v1/query?topic=0xcd423760&limit=50&order=oldest&cursor=${encodeURIComponent(first.next!)}`)
  const shown = () => clean.getByTestId('envelopes').locator('tr').evaluateAll((rows) => rows.map((row) => row.getAttribute('data-hash')))
  expect(await shown()).toEqual(first.envelopes.map((one) => one.hash))
  await clean.getByRole('button', { name: 'More' }).click()
  await settled(clean)
  expect(await shown()).toEqual([...first.envelopes, ...second.envelopes].map((one) => one.hash))
  const row = clean.getByTestId('envelopes').locator('tr').first()
  const one = first.envelopes[0]!
  await expect(row).toContainText(`${count(one.ttl)} s`)
  await expect(row).toContainText(BigInt(one.nonce).toString())
  await expect(row.locator('time').first()).toHaveAttribute('datetime', new Date(one.sent * 1000).toISOString())
})

test('a chat is asked for by its topic: its name does not leave the page', async ({ clean, daemon }) => {
  const asked: string[] = []
  clean.on('request', (request) => asked.push(request.url()))
  await open(clean, daemon, '#/explore?chat=status')
  await expect(clean.getByTestId('found')).toBeVisible()
  expect(asked.some((url) => url.includes('topic=0xcd423760'))).toBe(true)
  expect(asked.filter((url) => url.replace(/#.*/, '').includes('chat='))).toEqual([])
})

test('what is no topic, and what is no CID, is told in words and asked of nobody', async ({ clean, daemon }) => {
  await open(clean, daemon, '#/explore')
  await clean.getByRole('textbox', { name: 'Topic' }).fill('status')
  await clean.getByRole('button', { name: 'Find', exact: true }).click()
  await expect(clean.getByRole('alert')).toContainText('is no topic')
  await clean.getByLabel('CID or path').fill('QmNope')
  await clean.getByRole('button', { name: 'Open block' }).click()
  await expect(clean.getByText('this is no CID')).toBeVisible()
})

test('from the head a reader gets down to an envelope, every block verified', async ({ clean, daemon }) => {
  const { head } = await daemon.api<Head>('head')
  await open(clean, daemon, `#/explore/${head}`)
  await expect(clean.getByTestId('cid')).toHaveText(head)
  await expect(clean.getByTestId('signature')).toHaveText('valid: made by this key')
  const panel = clean.getByRole('region', { name: /^(Head|State|Year|Month|Pack|Leaf)/ })
  await panel.locator(`a[href="#/explore/${head}/state"]`).first().click()
  for (const name of ['2018', '09', '15']) {
    await settled(clean)
    await clean.getByRole('group', { name: 'Children' }).getByRole('link', { name, exact: true }).click()
  }
  await settled(clean)
  await expect(clean.getByRole('heading', { name: 'Pack: leaves by topic' })).toBeVisible()
  await clean.locator('a[href$="/leaves/0/1"]').first().click()
  await settled(clean)
  await expect(clean.getByRole('heading', { name: 'Leaf: envelopes' })).toBeVisible()
  const first = await clean.getByTestId('leaf').locator('code').nth(1).getAttribute('title')
  const topic = await clean.getByTestId('leaf').locator('code').first().textContent()
  const { envelopes } = await daemon.api<Found>(`api/v1/query?topic=${topic}&from=1536969600&to=1537055999&order=oldest`)
  expect(envelopes.map((one) => one.hash)).toContain(first)
  await expect(clean.locator('.crumbs li')).toHaveCount(8)
  await clean.locator('.crumbs').getByRole('link', { name: '2018' }).click()
  await expect(clean.getByRole('heading', { name: 'Year: months' })).toBeVisible()
})

test('a block that is not what its CID names is not shown', async ({ page, daemon }) => {
  const { head } = await daemon.api<Head>('head')
  await page.route('**/ipfs/**', async (route) => {
    const response = await route.fetch()
    const body = await response.body()
    body[body.length - 1]! ^= 1
    await route.fulfill({ response, body })
  })
  await page.goto(`${daemon.url}#/explore/${head}`)
  await expect(page.getByRole('alert')).toContainText('not what the CID names')
  await expect(page.getByTestId('signature')).toHaveCount(0)
})

test('a public chat is read in the page, and says what its senders wrote', async ({ clean, daemon }) => {
  const { vectors } = JSON.parse(readFileSync('../fixtures/corpus/corpus_keys.json', 'utf8')) as {
    vectors: Array<{ hash: string; topic: string; sent: number; payload: string; src_public_key: string }>
  }
  const vector = vectors.findLast((one) => one.topic === '0xcd423760' && one.payload.startsWith('["~#c4"'))!
  const [, [text]] = JSON.parse(vector.payload) as [string, [string]]
  const field = (at: number) => new Date(at * 1000).toISOString().slice(0, 19)
  await open(clean, daemon, '#/read')
  await clean.getByLabel('Name of the chat').fill('status')
  await clean.getByLabel('Sent from, UTC').fill(field(vector.sent - 60))
  await clean.getByLabel('to, UTC', { exact: true }).fill(field(vector.sent))
  await clean.getByRole('button', { name: 'Read' }).click()
  await settled(clean)
  const message = clean.locator(`[data-hash="${vector.hash}"]`)
  await expect(message.locator('.said')).toContainText(text.slice(0, 400))
  await expect(message.locator('header code')).toHaveAttribute('title', vector.src_public_key)
  await message.getByText('Details').click()
  await expect(message).toContainText('Status, transit JSON')
})

test('a password reads the same with its topic, and a wrong one is told to be wrong', async ({ clean, daemon }) => {
  const asked: string[] = []
  clean.on('request', (request) => asked.push(request.url() + (request.postData() ?? '')))
  await open(clean, daemon, '#/read')
  await clean.getByLabel('With').selectOption('password')
  await clean.getByRole('textbox', { name: 'Topic' }).fill('0xcd423760')
  await clean.locator('input[name=secret]').fill('status-core')
  await clean.getByRole('button', { name: 'Read' }).click()
  await settled(clean)
  await expect(clean.getByText('None of these envelopes opens with this key.')).toBeVisible()
  await clean.locator('input[name=secret]').fill('status')
  await clean.getByRole('button', { name: 'Read' }).click()
  await settled(clean)
  await expect(clean.getByTestId('opened')).toHaveText('50 messages')
  expect(asked.filter((text) => text.includes('status-core'))).toEqual([])
  expect(clean.url()).not.toContain('status')
})

test('texts, names and programs that are markup are shown as text, and do nothing', async ({ clean, daemon }) => {
  await open(clean, daemon, '#/overview')
  await expect(clean.getByText(HOSTILE.name)).toBeVisible()
  await open(clean, daemon, `#/read?chat=${HOSTILE.chat}`)
  const said = clean.locator('.said')
  await expect(said).toContainText('<script>alert(3)</script>U+202Egnp.exe␀')
  await expect(said.locator('a, script, img')).toHaveCount(0)
  await open(clean, daemon, '#/mirrors')
  await expect(clean.getByText(HOSTILE.agent)).toBeVisible()
  await open(clean, daemon, '#/archive')
  await expect(clean.locator('.lineage').getByText(HOSTILE.name).first()).toBeVisible()
  await open(clean, daemon, `#/explore/${encodeURIComponent('<img src=x onerror=alert(5)>')}`)
  await expect(clean.getByRole('alert')).toContainText('this is no CID')
  expect(await clean.locator('img:not([src="icon.svg"]), main script').count()).toBe(0)
})

test('a verification is run with the token, and told when it is done', async ({ clean, daemon }) => {
  await open(clean, daemon, '#/verify')
  await clean.getByLabel(/^Token/).fill(daemon.token)
  await clean.getByRole('button', { name: 'Verify now' }).click()
  await expect(clean.getByTestId('verify-result')).toHaveText('Verified', { timeout: 40_000 })
  const { last } = await daemon.api<Verify>('api/v1/verify')
  await expect(clean.getByTestId('verify-envelopes')).toHaveText(count(last!.envelopes))
  const stats = await daemon.api<Stats>('api/v1/stats')
  expect(last!.envelopes).toBe(stats.count)
})

test('without the token nothing is run, and the page says where it stands', async ({ page, daemon }) => {
  await open(page, daemon, '#/verify')
  await page.getByLabel(/^Token/).fill('0'.repeat(64))
  await page.getByRole('button', { name: 'Verify now' }).click()
  await expect(page.getByRole('alert')).toContainText('rpc.token')
  const kept = await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }))
  expect(kept).not.toContain('0000000000')
})

test('a daemon that goes away is told, and one that comes back too', async ({ page, daemon }) => {
  await open(page, daemon, '#/overview')
  await page.context().setOffline(true)
  await expect(page.locator('.pulse')).toContainText('does not answer', { timeout: 30_000 })
  await page.context().setOffline(false)
  await expect(page.locator('.pulse')).not.toContainText('does not answer', { timeout: 30_000 })
})

test('the page is held to its own files by a strict policy', async ({ page, daemon }) => {
  const response = await page.goto(daemon.url)
  const policy = response!.headers()['content-security-policy'] ?? ''
  for (const rule of ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'"]) {
    expect(policy).toContain(rule)
  }
  expect(policy).not.toContain('unsafe')
  expect(response!.headers()['x-content-type-options']).toBe('nosniff')
  await page.goto(daemon.url)
  const did = await page.evaluate(() => {
    const script = document.createElement('script')
    try {
      script.textContent = 'window.did = true'
      document.head.append(script)
    } catch {
      return 'refused'
    }
    return (window as { did?: boolean }).did ? 'ran' : 'refused'
  })
  expect(did).toBe('refused')
})

test('the keyboard reaches everything: skip link, pages, theme', async ({ clean, daemon }) => {
  await open(clean, daemon, '#/overview')
  await clean.keyboard.press('Tab')
  await expect(clean.getByRole('link', { name: 'Skip to the page' })).toBeFocused()
  await clean.keyboard.press('Enter')
  await expect(clean.locator('h1')).toBeFocused()
  const theme = clean.getByRole('button', { name: /^Colours/ })
  await theme.focus()
  await clean.keyboard.press('Enter')
  await expect(clean.locator('html')).toHaveAttribute('data-theme', 'light')
  await clean.keyboard.press('Enter')
  await expect(clean.locator('html')).toHaveAttribute('data-theme', 'dark')
  await clean.reload()
  await expect(clean.locator('html')).toHaveAttribute('data-theme', 'dark')
})

for (const width of [1280, 390]) {
  for (const colorScheme of ['light', 'dark'] as const) {
    test(`all pages can be read by all, ${width} wide and ${colorScheme}`, async ({ browser, daemon }) => {
      test.setTimeout(180_000)
      const context = await browser.newContext({ viewport: { width, height: width > 600 ? 800 : 844 }, colorScheme })
      const page = await context.newPage()
      const { head } = await daemon.api<Head>('head')
      const views: Array<[string, string]> = [
        ...PAGES.map((name) => [name, `#/${name}`] as [string, string]),
        ['archive-day', '#/archive/2018-09-15'],
        ['explore-found', '#/explore?topic=0xcd423760'],
        ['explore-head', `#/explore/${head}`],
        ['explore-leaf', `#/explore/${head}/state/2018/09/15/leaves/0/1`],
        ['read-chat', '#/read?chat=status&from=2018-10-01T10:00:00'],
      ]
      for (const [name, hash] of views) {
        await open(page, daemon, hash)
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
        expect(wide, `${name} is wider than the screen`).toBeLessThanOrEqual(0)
        await page.screenshot({ path: `${SHOTS}/${name}-${width}-${colorScheme}.png`, fullPage: true })
        const { violations } = await new AxeBuilder({ page }).analyze()
        expect(violations.map(({ id, nodes }) => `${name}: ${id}: ${nodes[0]?.html}`)).toEqual([])
      }
      await context.close()
    })
  }
}
