// A Chromium with a profile of its own, which never leaves loopback.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

/**
 * The browser is COUNTERSIGN_REAL_CHROMIUM or Debian's. Closing it removes its profile. `names` are further hosts that it
 * finds, each with its address.
 */
export async function launch(options, names = {}) {
  const hosts = Object.entries(names).map(([name, address]) => `MAP ${name} ${address}, `).join('');
  const profile = await mkdtemp(join(tmpdir(), 'countersign-chromium-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.COUNTERSIGN_REAL_CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    javaScriptEnabled: false,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
      `--host-resolver-rules=${hosts}MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1`,
    ],
    ...options,
  });
  const close = async () => {
    await context.close();
    await rm(profile, { recursive: true, force: true });
  };
  return { context, close };
}
