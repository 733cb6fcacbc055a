// Every page, as people see it: in light and dark, on a phone and on a wall, with gateways in every
// state; by keyboard, and while things happen.
import assert from "node:assert/strict";
import { inContainer, row, scenario, state, step } from "./desk.mjs";

const PAGES = [
  ["overview", "/"],
  ["overview-trouble", "/?show=trouble"],
  ["profile", "/profiles/writer"],
  ["profile-parked", "/profiles/parked"],
  ["delete", "/profiles/writer/delete"],
  ["services", "/services"],
  ["service", "/services/dashboard"],
  ["boots", "/boots"],
  ["system", "/system"],
  ["api", "/api/v1"],
  ["error", "/nothing"],
];
const WIDTHS = [["phone", 390, 844], ["tablet", 820, 1180], ["wide", 1920, 1080]];

// Adds up how far things have moved that nobody touched.
const watchShifts = (page) => page.evaluate(() => {
  window.shifts = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      if (entry.hadRecentInput) continue;
      const what = entry.sources.map(({ node }) => node?.outerHTML?.slice(0, 120) ?? "?");
      window.shifts.push({ value: entry.value, what });
    }
  }).observe({ type: "layout-shift" });
});
// What was measured comes every few seconds; two of them, so that everything before has been drawn.
const twoSamples = (page) => page.evaluate(() => new Promise((resolve) => {
  let left = 2;
  new EventSource("/live").addEventListener("samples", function (event) {
    if (--left === 0) { event.target.close(); requestAnimationFrame(() => requestAnimationFrame(resolve)); }
  });
}));
const stayedStill = async (page, what) => {
  await twoSamples(page);
  const shifts = await page.evaluate(() => window.shifts);
  const sum = shifts.reduce((sum, { value }) => sum + value, 0);
  // A row that moves by its own height is a hundred times as much.
  assert.ok(sum < 0.0005, `${what} moved while live: ${JSON.stringify(shifts)}`);
};
const focused = (page) => page.evaluate(() => {
  const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
  return { is: document.activeElement.id || document.activeElement.textContent.trim(), ring: outlineStyle !== "none" && outlineWidth !== "0px" };
});

await scenario(async (desk) => {
  desk.expect(/nothing: Failed to load resource.*status of 404/);
  for (const scheme of ["light", "dark"]) {
    step(`every page in ${scheme}`);
    const page = await desk.open({ scheme });
    await page.goto("/login");
    await desk.accessible(page, `login in ${scheme}`);
    await desk.shot(page, `login-${scheme}`);
    await desk.signIn(page);
    for (const [name, path] of PAGES) {
      await page.goto(path);
      if (name !== "error") await desk.live(page);
      await page.locator("main details.card").evaluateAll((all) => all.forEach((details) => { details.open = true; }));
      await desk.accessible(page, `${name} in ${scheme}`);
      await desk.shot(page, `${name}-${scheme}`);
      if (scheme === "dark") continue;
      for (const [device, width, height] of WIDTHS) {
        await page.setViewportSize({ width, height });
        await desk.fits(page, `${name} on a ${device}`);
        if (device !== "tablet") await desk.shot(page, `${name}-${device}`);
      }
      await desk.fits(page, name);
      await page.setViewportSize({ width: 1280, height: 860 });
    }
    // The picture in the guide is this one.
    await page.goto("/");
    await desk.live(page);
    await desk.shot(page, `guide-${scheme}`, { fullPage: false });
    await page.context().close();
  }

  step("a phone's page is as accessible");
  const phone = await desk.open({ width: 390, height: 844, motion: "reduce" });
  await desk.signIn(phone);
  await desk.accessible(phone, "overview on a phone");
  const moving = await phone.evaluate(() => document.getAnimations().length);
  assert.equal(moving, 0, "nothing moves for who wants nothing to move");
  await phone.context().close();

  step("the keyboard is enough, and shows where it is");
  const page = await desk.open();
  await desk.signIn(page);
  await page.keyboard.press("Tab");
  assert.deepEqual(await focused(page), { is: "Skip to the content", ring: true });
  await page.keyboard.press("/");
  assert.deepEqual(await focused(page), { is: "q", ring: true });
  await page.keyboard.press("Tab");
  assert.deepEqual(await focused(page), { is: "New profile", ring: true });
  await page.keyboard.press("Enter");
  await page.getByLabel("What it is for").waitFor();
  await page.keyboard.press("Escape");
  assert.equal(await page.getByLabel("What it is for").isVisible(), false);
  assert.equal((await focused(page)).is, "New profile");
  await page.getByRole("button", { name: "Stop default" }).focus();
  await page.keyboard.press("Enter");
  await state(page, "default", "down");
  assert.equal((await focused(page)).is, "Start", "the focus stays on the row's button");

  step("nothing moves on the overview while gateways come, go and fail");
  const order = await page.locator("#rows tr").evaluateAll((rows) => rows.map((tr) => tr.dataset.n));
  await page.mouse.click(640, 4);
  await watchShifts(page);
  inContainer("herm", "-p", "reader", "gateway", "stop");
  await state(page, "reader", "down");
  inContainer("touch", "/opt/data/fail-writer");
  await row(page, "writer").getByText("exit 1").first().waitFor();
  await page.waitForFunction(() => document.title.startsWith("("));
  await stayedStill(page, "the overview");
  assert.deepEqual(
    await page.locator("#rows tr").evaluateAll((rows) => rows.map((tr) => tr.dataset.n)), order,
    "rows stay where they are until the page is loaded again");
  inContainer("rm", "/opt/data/fail-writer");

  step("nor on a profile's page");
  await page.goto("/profiles/reader");
  await desk.live(page);
  await page.mouse.click(640, 4);
  await watchShifts(page);
  inContainer("herm", "-p", "reader", "gateway", "start");
  await page.locator("#head b.p", { hasText: "running" }).waitFor();
  await stayedStill(page, "the profile");

  step("its charts go on with the stream, and the page is not asked for again");
  await page.goto("/profiles/calendar");
  await desk.live(page);
  const drawn = () => page.locator("#charts .card").first().evaluate((card) => ({
    values: card.dataset.v, points: card.querySelector(".line")?.getAttribute("d").slice(1).trim().split(" ").length / 2,
  }));
  await page.waitForFunction(() => document.querySelector("#charts .card").dataset.v.split(" ").length > 3);
  const before = (await drawn()).values;
  let asked = 0;
  page.on("request", (request) => { if (request.url() === page.url()) asked++; });
  await page.waitForFunction((old) => document.querySelector("#charts .card").dataset.v !== old, before);
  const after = await drawn();
  assert.equal(asked, 0, "the page was loaded again for its charts");
  assert.equal(after.points, after.values.split(" ").length);
});
