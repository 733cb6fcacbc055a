// A day of an operator, in front of real gateways of the real agent.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { inContainer, row, scenario, state, step } from "./desk.mjs";

const KEY = "a-key-for-tests-0123456789";
const PORT = 9501;
const SETTINGS = `API_SERVER_ENABLED=true\nAPI_SERVER_KEY=${KEY}\nAPI_SERVER_PORT=${PORT}\n`;
const HEALTH = `exec 3<>/dev/tcp/127.0.0.1/${PORT}; printf 'GET /health HTTP/1.0\\r\\n\\r\\n' >&3; head -1 <&3`;

const button = (page, name) => page.getByRole("button", { name, exact: true });
const head = (page, word) => page.locator("#head b.p", { hasText: new RegExp(`^${word}$`) }).waitFor();
const says = (page, text) => page.locator("#toast").getByText(text).waitFor();

await scenario(async (desk) => {
  const page = await desk.open();
  step("without a session every page leads to the login, which tells a wrong password");
  desk.expect(/status of 401/);
  await page.goto("/profiles/default");
  assert.equal(new URL(page.url()).pathname, "/login");
  await page.getByLabel("Name").fill("operator");
  await page.getByLabel("Password").fill("not this one");
  await button(page, "Sign in").click();
  await page.getByRole("alert").getByText("That is not right").waitFor();
  await desk.signIn(page, "/profiles/default");

  step("a profile is created");
  await page.goto("/");
  await page.getByText("New profile").click();
  await page.getByLabel("Name", { exact: true }).fill("ada");
  await page.getByLabel("What it is for").fill("Reads <b>everything</b> first");
  await button(page, "Create").click();
  await page.waitForURL("**/profiles/ada");
  await page.getByText("Reads <b>everything</b> first").waitFor();
  await head(page, "down");

  step("its gateway is started, and serves");
  inContainer("sh", "-c", `umask 077; printf '${SETTINGS.replaceAll("\n", "\\n")}' > /opt/data/profiles/ada/.env`);
  await desk.live(page);
  await button(page, "Start ada").click();
  await says(page, "ada is started");
  await head(page, "running");
  assert.match(inContainer("bash", "-c", HEALTH), / 200 /);

  step("another window sees it crash and come back, without being touched");
  const wall = await desk.open();
  await desk.signIn(wall);
  await desk.live(wall);
  await state(wall, "ada", "running");
  const process = page.locator("#head dt", { hasText: "Process" }).locator("xpath=../dd");
  const before = await process.textContent();
  inContainer("sh", "-c", `kill -9 ${before}`);
  await row(wall, "ada").getByText("SIGKILL").waitFor();
  await state(wall, "ada", "running");
  await page.locator("#timeline").getByText("SIGKILL").first().waitFor();
  await page.waitForFunction(
    (old) => ![...document.querySelectorAll("#head dd")].some((dd) => dd.textContent === old), before);
  await head(page, "running");

  step("its log is live, can be held, searched, filtered by level, and downloaded");
  const lines = page.locator(".log .l");
  await lines.first().waitFor();
  await button(page, "Pause").click();
  const held = await lines.count();
  inContainer("herm", "-p", "ada", "gateway", "restart");
  await page.getByRole("button", { name: /^Continue \(\d+\)$/ }).waitFor();
  assert.equal(await lines.count(), held, "a held log stays as it is");
  await page.getByRole("button", { name: /^Continue/ }).click();
  await page.waitForFunction((count) => document.querySelectorAll(".log .l").length > count, held);
  const shown = () => page.locator(".log .l:visible").count();
  const search = page.getByLabel("Search the log");
  await search.fill("no line has this");
  assert.equal(await shown(), 0);
  await search.press("Enter");
  await page.getByText("No line that is kept contains this.").waitFor();
  await page.goto("/profiles/ada");
  for (const level of ["Errors", "Warnings", "Other", "Debug"]) await page.getByLabel(level).uncheck();
  assert.equal(await shown(), 0);
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByText("Download").click()]);
  assert.equal(download.suggestedFilename(), "gateway-ada.log");
  assert.equal(readFileSync(await download.path(), "utf8"), inContainer("cat", "/opt/data/logs/gateways/ada/current"));

  step("its configuration is shown, and no secret of it");
  await page.getByRole("heading", { name: "Configuration" }).click();
  await page.getByText("API_SERVER_KEY").waitFor();
  assert.ok(!(await page.content()).includes(KEY));
  await page.getByRole("heading", { name: "SOUL.md" }).click();
  await page.locator("details pre").waitFor();

  step("the overview's buttons restart and stop it, and the wish is recorded");
  await button(wall, "Restart ada").click();
  await says(wall, "ada is restarted");
  await button(wall, "Stop ada").click();
  await says(wall, "ada is stopped");
  await state(wall, "ada", "down");
  await head(page, "down");
  assert.match(inContainer("cat", "/opt/data/profiles/ada/.herm/desired.json"), /"stopped"/);

  step("filters narrow the table");
  await wall.getByRole("link", { name: /^Not running/ }).click();
  await row(wall, "ada").waitFor();
  await wall.getByRole("link", { name: /^In trouble/ }).click();
  await wall.getByText("Nothing is in trouble.").waitFor();
  await wall.goto("/");
  await wall.getByLabel("Filter profiles").fill("zzz");
  assert.equal(await row(wall, "ada").isVisible(), false);

  step("it is deleted by typing its name, and not by less");
  desk.expect(/status of 400/);
  await page.getByText("Delete this profile…").click();
  await page.getByLabel("Type ada to confirm").fill("adam");
  await button(page, "Delete it").click();
  await page.getByText("Nothing is deleted").waitFor();
  await page.goto("/profiles/ada/delete");
  await page.getByLabel("Type ada to confirm").fill("ada");
  await button(page, "Delete it").click();
  await page.waitForURL((url) => url.pathname === "/");
  assert.equal(await row(page, "ada").count(), 0);
  assert.equal(inContainer("sh", "-c", "ls /opt/data/profiles"), "");

  step("signing out ends the session everywhere it was kept");
  const kept = await page.context().cookies();
  await button(page, "Sign out").click();
  await page.waitForURL("**/login");
  await page.context().addCookies(kept);
  await page.goto("/");
  assert.equal(new URL(page.url()).pathname, "/login");
});
