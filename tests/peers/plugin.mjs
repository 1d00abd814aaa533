// A plugin in Node, over its own standard library: plugin.mjs unix PATH | plugin.mjs http | plugin.mjs stdio
//
// Taxes `{"net": n}`, fails for 0, and takes `sleep_ms` if the call has that.
import http from "node:http";
import net from "node:net";
import readline from "node:readline";

const info = { name: "tax", version: "2.1.0", description: "taxes", capabilities: ["vat"] };

async function tax(data, tenant) {
  await new Promise((done) => setTimeout(done, data.sleep_ms ?? 0));
  if (data.net === 0) throw new Error("nothing to tax: 0 < 1 & \u00fc");
  return { gross: Math.floor((data.net * 122) / 100), tenant: tenant ?? "" };
}

async function answer(asked) {
  const told = { type: asked.type, request_id: asked.request_id, success: true };
  try {
    if (asked.type === "execute") told.data = await tax(asked.data, asked.headers?.["X-Tenant"]);
    if (asked.type === "info") told.data = info;
  } catch (error) {
    Object.assign(told, { success: false, error: error.message });
  }
  return told;
}

function channel(socket) {
  socket.on("error", () => {});
  // Go ends each value with a line end, so a reader of lines may be a plugin too.
  readline.createInterface({ input: socket }).on("line", async (line) => {
    // Without a line end, which a host must not need.
    socket.write(JSON.stringify(await answer(JSON.parse(line))));
  });
}

function request(request, response) {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", async () => {
    let told = request.url.endsWith("/info") ? info : { status: 1, message: "OK" };
    if (request.method === "POST") {
      const asked = JSON.parse(Buffer.concat(parts).toString());
      told = { request_id: asked.request_id };
      try {
        told.data = await tax(asked.data, request.headers["x-tenant"]);
      } catch (error) {
        told.error = error.message;
      }
    }
    response.end(JSON.stringify(told));
  });
}

// Many calls at once.
async function line(text) {
  const asked = JSON.parse(text);
  const told = { id: asked.id };
  try {
    if (asked.method === "info") told.result = { ...info, capabilities: ["vat", "multiplex"] };
    else if (asked.method === "health") told.result = { status: 1 };
    else told.result = await tax(asked.payload, asked.context.headers?.["X-Tenant"]);
  } catch (error) {
    told.error = error.message;
  }
  console.log(JSON.stringify(told));
}

const [kind, path] = process.argv.slice(2);
if (kind === "stdio") {
  readline.createInterface({ input: process.stdin }).on("line", line);
} else if (kind === "unix") {
  net.createServer({ allowHalfOpen: false }, channel).listen(path, () => console.log(`unix:${path}`));
} else {
  const server = http.createServer(request);
  server.listen(0, "127.0.0.1", () => {
    console.log(`http://127.0.0.1:${server.address().port}/rpc/tax`);
  });
}
// Ends with the program that started it.
if (kind !== "stdio") process.stdin.resume().on("end", () => process.exit(0));
