// Writes `dist/`, which the crate carries inside itself, or with `--tests` the tests
// that Node runs. The same sources and the same lock file give the same bytes: names
// are fixed, nothing of the time or the machine goes in.
import { build, context } from 'esbuild'
import { copyFile, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'

/** What all files of `dist/` may weigh together, bytes: the page is to be there at once. */
const MAX_WEIGHT = 300_000

/** Licences under which a package may be in the page, as deny.toml has them for crates. */
const ALLOWED = new Set(['MIT', 'Apache-2.0', 'Apache-2.0 OR MIT'])

const shared = {
  bundle: true,
  format: 'iife',
  target: ['chrome123', 'firefox120', 'safari17.5'],
  minify: true,
  charset: 'utf8',
  // Their words are in third-party.txt.
  legalComments: 'none',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  logLevel: 'warning',
}

const page = {
  ...shared,
  entryPoints: { app: 'src/main.tsx', worker: 'src/reader/worker.ts', style: 'src/style.css' },
  outdir: 'dist',
  metafile: true,
}

/** What every package that is in the page asks to be told with it: its name, its
 * licence, the words of its authors. */
async function notices(metafile) {
  const inputs = Object.keys(metafile.inputs)
  const names = inputs.map((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1])
  const parts = []
  let isApache = false
  for (const name of [...new Set(names.filter(Boolean))].sort()) {
    const folder = `node_modules/${name}`
    const { version, license } = JSON.parse(await readFile(`${folder}/package.json`, 'utf8'))
    if (!ALLOWED.has(license)) throw new Error(`${name}: its licence, ${license}, is not among those of build.mjs`)
    const file = (await readdir(folder)).find((one) => /^licen[cs]e(\.\w+)?$/i.test(one))
    const words = file ? (await readFile(`${folder}/${file}`, 'utf8')).trim() : 'The package comes without a text of its own.'
    isApache ||= license.includes('Apache')
    parts.push(`${name} ${version}: ${license}\n\n${words}`)
  }
  const apache = isApache ? [(await readFile('../LICENSE-APACHE', 'utf8')).trim()] : []
  const intro = 'The explorer is made of these packages beside its own source. Where a package\noffers the Apache License 2.0, it is used under that one; its text is at the end.'
  return `${[intro, ...parts, ...apache].join(`\n\n${'-'.repeat(80)}\n\n`)}\n`
}

if (process.argv.includes('--tests')) {
  const tests = (await readdir('unit')).filter((name) => name.endsWith('.test.ts'))
  await rm('target/unit', { recursive: true, force: true })
  await build({
    ...shared,
    minify: false,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    entryPoints: tests.map((name) => `unit/${name}`),
    outdir: 'target/unit',
    outExtension: { '.js': '.mjs' },
  })
} else {
  await rm('dist', { recursive: true, force: true })
  await mkdir('dist', { recursive: true })
  for (const name of ['index.html', 'icon.svg']) await copyFile(`src/${name}`, `dist/${name}`)
  if (process.argv.includes('--watch')) {
    await (await context(page)).watch()
  } else {
    const { metafile } = await build(page)
    await writeFile('dist/third-party.txt', await notices(metafile))
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
