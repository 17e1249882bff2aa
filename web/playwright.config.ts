import { defineConfig } from '@playwright/test'

// Debian's Chromium, unless another is named. As root it runs without its sandbox;
// what it looks at is a daemon of this machine alone.
export default defineConfig({
  testDir: 'browser',
  outputDir: 'target/explorer',
  timeout: 60_000,
  fullyParallel: false,
  workers: 1,
  forbidOnly: true,
  reporter: [['list']],
  use: {
    testIdAttribute: 'data-test',
    viewport: { width: 1280, height: 800 },
    timezoneId: 'Asia/Kathmandu',
    locale: 'en-GB',
    launchOptions: {
      executablePath: process.env['GWA_CHROMIUM'] ?? '/usr/bin/chromium',
      args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
    },
  },
})
