// Everything that matters works without a script.
import assert from "node:assert/strict";
import { inContainer, row, scenario, step } from "./desk.mjs";

const button = (page, name) => page.getByRole("button", { name, exact: true });

await scenario(async (desk) => {
  const page = await desk.open({ script: false });
  await desk.signIn(page);

  step("create");
  await page.getByText("New profile").click();
  await page.getByLabel("Name", { exact: true }).fill("plain");
  await button(page, "Create").click();
  await page.waitForURL("**/profiles/plain");

  step("start, and look at the log");
  await button(page, "Start plain").click();
  await page.locator("#head b.p", { hasText: "running" }).waitFor();
  await page.getByLabel("Search the log").fill("listening");
  await page.getByLabel("Search the log").press("Enter");
  await page.waitForURL("**/profiles/plain?q=listening");
  await page.locator(".log .l", { hasText: "listening" }).first().waitFor();
  assert.equal(await page.locator(".log .l", { hasNotText: "listening" }).count(), 0);

  step("find it, restart and stop it from the overview");
  await page.goto("/");
  await page.getByLabel("Filter profiles").fill("pla");
  await page.getByLabel("Filter profiles").press("Enter");
  await page.waitForURL("**/?q=pla");
  assert.equal(await page.locator("#rows tr").count(), 1);
  await button(page, "Restart plain").click();
  await row(page, "plain").getByText("running").waitFor();
  await button(page, "Stop plain").click();
  await row(page, "plain").getByText("down").waitFor();

  step("delete");
  await page.goto("/profiles/plain/delete");
  await page.getByLabel("Type plain to confirm").fill("plain");
  await button(page, "Delete it").click();
  await page.waitForURL((url) => url.pathname === "/");
  assert.equal(inContainer("sh", "-c", "ls /opt/data/profiles"), "");

  step("sign out");
  await button(page, "Sign out").click();
  await page.waitForURL("**/login");
});
