// Writes `dist/`, which the crate carries inside itself, or with `--tests` the tests
// that Node runs. The same sources and the same lock file give the same bytes: names
// are fixed, nothing of the time or the machine goes in.
import { build, context } from 'esbuild'
import { copyFile, mkdir, readdir, rm, stat } from 'node:fs/promises'

/** What all files of `dist/` may weigh together, bytes: the page is to be there at once. */
const MAX_WEIGHT = 300_000

const shared = {
  bundle: true,
  format: 'iife',
  target: ['chrome123', 'firefox120', 'safari17.5'],
  minify: true,
  charset: 'utf8',
  legalComments: 'none',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  logLevel: 'warning',
}

const page = {
  ...shared,
  entryPoints: { app: 'src/main.tsx', worker: 'src/reader/worker.ts', style: 'src/style.css' },
  outdir: 'dist',
}

if (process.argv.includes('--tests')) {
  const tests = (await readdir('test')).filter((name) => name.endsWith('.test.ts'))
  await rm('target/tests', { recursive: true, force: true })
  await build({
    ...shared,
    minify: false,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    entryPoints: tests.map((name) => `test/${name}`),
    outdir: 'target/tests',
    outExtension: { '.js': '.mjs' },
  })
} else {
  await rm('dist', { recursive: true, force: true })
  await mkdir('dist', { recursive: true })
  for (const name of ['index.html', 'icon.svg']) await copyFile(`src/${name}`, `dist/${name}`)
  if (process.argv.includes('--watch')) {
    await (await context(page)).watch()
  } else {
    await build(page)
    let total = 0
    for (const name of await readdir('dist')) {
      const { size } = await stat(`dist/${name}`)
      total += size
      console.log(`${String(size).padStart(8)}  ${name}`)
    }
    console.log(`${String(total).padStart(8)}  together`)
    if (total > MAX_WEIGHT) throw new Error(`dist/ weighs ${total} bytes, above ${MAX_WEIGHT}`)
  }
}
