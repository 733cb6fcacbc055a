// A browser for one scenario: Debian's Chromium, driven by playwright-core. Whatever a scenario does,
// two things are watched on all of its pages: nothing is asked of another origin, and no page complains
// on its console. Waiting is for what can be seen, never for time to pass.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const CHROMIUM = "/usr/bin/chromium";
const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];
// Nothing here takes this long; it ends a scenario that would hang.
const HANG_GUARD_MS = 90_000;
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const setting = (name) => process.env[name] ?? assert.fail(`${name} is not set`);

// Runs a scenario from beginning to end; it fails if the scenario or one of its pages does.
export async function scenario(story) {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
  try {
    const desk = new Desk(browser);
    await story(desk);
    assert.deepEqual(desk.complaints, [], "what the pages complained of");
  } finally {
    await browser.close();
  }
}

export class Desk {
  base = setting("HERM_DASHBOARD");
  complaints = [];
  #expected = [];

  constructor(browser) {
    this.browser = browser;
  }

  // A window of a browser that knows nothing yet.
  async open({ width = 1280, height = 860, scheme = "light", motion = "no-preference", script = true } = {}) {
    const context = await this.browser.newContext({
      baseURL: this.base,
      viewport: { width, height },
      colorScheme: scheme,
      reducedMotion: motion,
      javaScriptEnabled: script,
      acceptDownloads: true,
    });
    context.setDefaultTimeout(HANG_GUARD_MS);
    const page = await context.newPage();
    const origin = new URL(this.base).origin;
    page.on("request", (request) => {
      const url = new URL(request.url());
      if (url.origin !== origin) this.#complain(`a request left the origin: ${url}`);
    });
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) this.#complain(`${page.url()}: ${message.text()}`);
    });
    page.on("pageerror", (error) => this.#complain(`${page.url()}: ${error}`));
    return page;
  }

  #complain(text) {
    if (!this.#expected.some((pattern) => pattern.test(text))) this.complaints.push(text);
  }

  // What browsers say of an answer that the scenario asks for on purpose.
  expect(pattern) {
    this.#expected.push(pattern);
  }

  async signIn(page, next = "/") {
    await page.goto(`/login?next=${encodeURIComponent(next)}`);
    await page.getByLabel("Name").fill(setting("HERM_USERNAME"));
    await page.getByLabel("Password").fill(setting("HERM_PASSWORD"));
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.waitForURL((url) => url.pathname === new URL(next, this.base).pathname);
  }

  // A page that is known to take part in what happens.
  async live(page) {
    await page.locator(".live.is-live").waitFor();
  }

  async shot(page, name, { fullPage = true } = {}) {
    const directory = setting("HERM_SHOTS");
    mkdirSync(directory, { recursive: true });
    await page.screenshot({ path: join(directory, `${name}.png`), fullPage, animations: "disabled" });
  }

  // axe-core on the page as it is. The script comes by the debugger: the page's policy lets in none.
  async accessible(page, what) {
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
    const found = violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes[0].html}`);
    assert.deepEqual(found, [], `axe-core on ${what}`);
  }

  // Nothing is wider than the window.
  async fits(page, what) {
    const excess = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(excess <= 0, `${what} is ${excess} px wider than the window`);
  }
}

// A command in the container, as its service user.
export const inContainer = (...argv) =>
  execFileSync("docker", ["exec", "--user", "10000:10000", setting("HERM_CONTAINER"), ...argv], { encoding: "utf8" });

// The overview's row of a profile.
export const row = (page, profile) => page.locator(`#rows tr[data-n="gateway-${profile}"]`);

// Waits until a profile's row says this state.
export const state = (page, profile, word) =>
  row(page, profile).locator("b.p", { hasText: new RegExp(`^${word}$`) }).waitFor();

export const step = (words) => console.log(`- ${words}`);
