// Draws each board from a Prometheus and saves a picture; ends with 1 where anything went wrong.
//
//   PROMETHEUS=http://127.0.0.1:9090 FROM=… TO=… node draw.mjs [--to FOLDER] [BOARD …]
//
// FROM and TO are seconds since 1970, SCRAPE those between two scrapes; `TO_rollout` is another end
// for that board alone. A panel without data is a fault, unless the board says what its emptiness
// means. The first rows of two boards go into the README: --small FOLDER.

import { createReadStream, existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import puppeteer from 'puppeteer-core';

const HERE = dirname(fileURLToPath(import.meta.url));
const BOARDS = join(HERE, '..', 'grafana');
// The row that a small picture ends before.
const SMALL = { overview: 'Does Fieldwatch itself run', 'domain-shift': 'Evidence against the threshold, by stream' };
const TYPE = join(HERE, 'node_modules/@fontsource/inter/files');
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.json': 'application/json', '.svg': 'image/svg+xml', '.ttf': 'font/ttf', '.woff2': 'font/woff2' };
const CELL = 38; // pixels of a line of the grid, with what is between two
const ABOVE = 130; // title and variables

const { PROMETHEUS, FROM, TO, CHROMIUM = '/usr/bin/chromium', SCRAPE = '5', WIDTH = '1500' } = process.env;
const { values: options, positionals } = parseArgs({
  options: { to: { type: 'string', default: join(HERE, 'pictures') }, small: { type: 'string' } },
  allowPositionals: true,
});

const NOT_STARTED = { faults: ['the page did not start: was it built?'], queries: [''], empty: [] };
const missing = [];

// Grafana's own pages ask for icons and type under /public; both come with packages.
const SERVED = [
  ['/boards/', BOARDS],
  ['/public/build/', join(HERE, 'node_modules/@grafana/ui/dist/public')],
  ['/public/fonts/inter/Inter-Regular.woff2', join(TYPE, 'inter-latin-400-normal.woff2')],
  ['/public/fonts/inter/Inter-Medium.woff2', join(TYPE, 'inter-latin-500-normal.woff2')],
  ['/', join(HERE, 'dist')],
];

function fileOf(path) {
  const [start, folder] = SERVED.find(([start]) => path.startsWith(start));
  return join(folder, path.slice(start.length) || (start === '/' ? 'index.html' : ''));
}

function serve() {
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, 'http://here');
    if (url.pathname.startsWith('/prom/')) {
      const answer = await fetch(PROMETHEUS + url.pathname.slice('/prom'.length) + url.search);
      response.writeHead(answer.status, { 'content-type': 'application/json' });
      response.end(await answer.text());
      return;
    }
    const file = fileOf(url.pathname);
    if (!existsSync(file) && url.pathname.startsWith('/public/build/img/icons/')) {
      response.writeHead(200, { 'content-type': 'image/svg+xml' }); // not every icon is published
      response.end('<svg xmlns="http://www.w3.org/2000/svg"/>');
      return;
    }
    if (!existsSync(file)) {
      missing.push(`not served: ${url.pathname}`);
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' });
    createReadStream(file).pipe(response);
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

// "5 minutes ago" is of the end of the time drawn, not of today.
function standStill(now) {
  const began = Date.now();
  const RealDate = Date;
  window.Date = class extends RealDate {
    constructor(...given) {
      super(...(given.length ? given : [window.Date.now()]));
    }
    static now() {
      return now + RealDate.now() - began;
    }
  };
}

async function draw(browser, port, board) {
  const { panels } = JSON.parse(readFileSync(join(BOARDS, `${board}.json`)));
  const lines = Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  const page = await browser.newPage();
  const to = process.env[`TO_${board}`] ?? TO;
  await page.evaluateOnNewDocument(standStill, to * 1000);
  const faults = [];
  page.on('pageerror', (fault) => faults.push(`page: ${fault.message}`));
  page.on('console', (line) => line.type() === 'error' && faults.push(`console: ${line.text()}`));
  await page.setViewport({
    width: Number(WIDTH),
    height: ABOVE + lines * CELL,
  });
  const asked = new URLSearchParams({
    board,
    from: new Date(FROM * 1000).toISOString(),
    to: new Date(to * 1000).toISOString(),
    scrape: SCRAPE,
  });
  await page.goto(`http://127.0.0.1:${port}/?${asked}`, { waitUntil: 'networkidle0', timeout: 120_000 });
  await new Promise((resolve) => setTimeout(resolve, 2500));
  const notes = (await page.evaluate(() => window.notes)) ?? NOT_STARTED;
  await page.screenshot({ path: join(options.to, `${board}.png`) });
  if (options.small && SMALL[board]) {
    const before = panels.find(({ title }) => title === SMALL[board]).gridPos.y;
    const clip = { x: 0, y: 0, width: Number(WIDTH), height: ABOVE - 30 + before * CELL };
    await page.screenshot({ path: join(options.small, `${board}.webp`), type: 'webp', quality: 80, clip, captureBeyondViewport: false });
  }
  await page.close();
  const empty = [...new Set(notes.empty)].map((title) => `no data: ${title}`);
  const silent = notes.queries.length ? [] : ['no query was asked'];
  return [...new Set([...faults, ...notes.faults, ...empty, ...silent, ...missing.splice(0)])];
}

if (!PROMETHEUS || !FROM || !TO) {
  console.error('PROMETHEUS, FROM and TO must be set: see the top of draw.mjs');
  process.exit(2);
}
for (const folder of [options.to, options.small]) {
  folder && mkdirSync(folder, { recursive: true });
}
const server = await serve();
const browser = await puppeteer.launch({
  executablePath: CHROMIUM,
  args: ['--no-sandbox', '--hide-scrollbars', '--force-color-profile=srgb'],
});
const every = readdirSync(BOARDS).filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -5));
let failed = false;
for (const board of positionals.length ? positionals : every) {
  const faults = await draw(browser, server.address().port, board);
  failed ||= faults.length > 0;
  console.log(`${board}: ${faults.length ? `\n  ${faults.join('\n  ')}` : 'drawn'}`);
}
await browser.close();
server.close();
process.exit(failed ? 1 : 0);
