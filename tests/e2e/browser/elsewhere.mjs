// The buttons of one container's dashboard reach the gateways that another one runs (L73).
import assert from "node:assert/strict";
import { inContainer, row, scenario, state, step } from "./desk.mjs";

const button = (page, name) => page.getByRole("button", { name, exact: true });
const says = (page, text) => page.locator("#toast").getByText(text).waitFor();
// As the container that runs it says.
const runs = () => JSON.parse(inContainer("herm", "status", "--json")).services
  .find(({ profile }) => profile === "alpha")?.state;

await scenario(async (desk) => {
  const page = await desk.open();
  await desk.signIn(page);
  await desk.live(page);

  step("it is shown as another's, with what its record says can be done");
  await state(page, "alpha", "remote");
  await page.getByText(/run by another instance/).first().waitFor();

  step("stop and start from here happen there");
  await button(page, "Stop alpha").click();
  await says(page, "alpha is stopped");
  assert.equal(runs(), "down");
  await button(page, "Start alpha").click();
  await says(page, "alpha is started");
  assert.equal(runs(), "running");

  step("what the owner refuses is told in its words");
  desk.expect(/status of 422/);
  inContainer("sh", "-c", "umask 077; echo API_SERVER_PORT=99999999 > /opt/data/profiles/alpha/.env");
  await button(page, "Restart alpha").click();
  await says(page, /which runs the gateways of this home, says/);

  step("so is it deleted");
  await page.goto("/profiles/alpha/delete");
  await page.getByLabel("Type alpha to confirm").fill("alpha");
  await page.getByRole("button", { name: "Delete it" }).click();
  await page.waitForURL((url) => url.pathname === "/");
  assert.equal(runs(), undefined);
  assert.equal(await row(page, "alpha").count(), 0);
});
