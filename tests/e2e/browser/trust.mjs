// Whom the pages believe: nobody's text, and no other site's orders.
import assert from "node:assert/strict";
import { inContainer, row, scenario, state, step } from "./desk.mjs";

const ELSEWHERE = "http://evil.example";

await scenario(async (desk) => {
  const page = await desk.open();
  page.on("dialog", (dialog) => assert.fail(`a script of a log ran: ${dialog.message()}`));
  await desk.signIn(page);

  step("the session is a cookie that no script sees and no other site sends");
  const [cookie, ...others] = await page.context().cookies();
  assert.deepEqual([others.length, cookie.httpOnly, cookie.sameSite], [0, true, "Strict"]);
  assert.equal(await page.evaluate(() => document.cookie), "");

  step("what is stored in the browser is no use without our signature");
  const forger = await desk.open();
  const forged = cookie.value.replace(/.$/, (digit) => (digit === "0" ? "1" : "0"));
  await forger.context().addCookies([{ ...cookie, value: forged }]);
  await forger.goto("/");
  assert.equal(new URL(forger.url()).pathname, "/login");

  step("a change without the page's token is refused, and changes nothing");
  desk.expect(/status of 403/);
  const answers = await page.evaluate(async () => {
    const send = async (csrf) => {
      const body = new URLSearchParams({ do: "stop:gateway-default", ...csrf });
      return (await fetch("/act", { method: "POST", body })).status;
    };
    return [await send({}), await send({ csrf: "0".repeat(64) })];
  });
  assert.deepEqual(answers, [403, 403]);

  step("neither does another site's page, in the same browser, with a token it came by");
  const csrf = await page.evaluate(() => document.body.dataset.csrf);
  desk.expect(/request left the origin: http:\/\/evil\.example/);
  desk.expect(/frame-ancestors|X-Frame-Options|chrome-error/);
  const tab = await page.context().newPage();
  const form = `<form method="post" action="${desk.base}/act"><input name="csrf" value="${csrf}">
    <input name="do" value="stop:gateway-default"></form><iframe src="${desk.base}/"></iframe>`;
  await tab.route(`${ELSEWHERE}/**`, (route) => route.fulfill({ contentType: "text/html", body: form }));
  await tab.goto(`${ELSEWHERE}/`);
  assert.equal(await tab.frames()[1].locator("#rows").count(), 0, "it is not framed");
  const [answer] = await Promise.all([
    tab.waitForResponse((response) => response.url().endsWith("/act")),
    tab.evaluate(() => document.forms[0].submit()),
  ]);
  assert.equal(answer.status(), 403);
  await tab.close();
  await page.reload();
  await state(page, "default", "running");

  step("what programs print is text, with its colours");
  await page.goto("/profiles/default");
  const log = page.locator(".log");
  await log.getByText("<img src=x onerror=alert(1)>").first().waitFor();
  assert.equal(await log.locator("img, script, a, b").count(), 0);
  assert.equal(await log.locator(".c1", { hasText: "red" }).first().textContent(), "red");
  assert.equal(await page.title(), "default · herm");
  assert.ok(!(await log.textContent()).includes("\u001b"));
  await log.getByText(/more in the download/).first().waitFor();

  step("nor is anything else of a profile markup, and no secret is sent");
  const html = await page.content();
  for (const secret of ["hunter2-hunter2", "sk-ant-0123456789"]) assert.ok(!html.includes(secret), secret);
  assert.equal(await page.locator("main script").count(), 0);
  await page.getByRole("heading", { name: "SOUL.md" }).click();
  await page.getByText("<script>alert(2)</script>").waitFor();

  step("no script but ours runs, whatever gets into a page");
  desk.expect(/Content Security Policy/);
  const ran = await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.ran = true";
    document.body.append(script);
    return window.ran === true;
  });
  assert.equal(ran, false);

  step("whoever guesses passwords waits, and so does the right one then");
  desk.expect(/status of 4(01|29)/);
  const guesser = await desk.open();
  await guesser.goto("/login");
  await guesser.evaluate(async () => {
    const csrf = document.querySelector("[name=csrf]").value;
    const guess = (secret) => fetch("/login", {
      method: "POST", body: new URLSearchParams({ csrf, username: "operator", secret, next: "/" }),
    });
    await Promise.all([..."0123456789"].map(guess));
  });
  await guesser.getByLabel("Name").fill("operator");
  await guesser.getByLabel("Password").fill(process.env.HERM_PASSWORD);
  await guesser.getByRole("button", { name: "Sign in" }).click();
  await guesser.getByRole("alert").getByText(/Too many wrong attempts. Try again in \d+ seconds/).waitFor();
  // Who is in stays in.
  await page.goto("/");
  await row(page, "default").waitFor();
});
