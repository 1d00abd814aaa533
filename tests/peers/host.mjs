// A host in Node, over its own standard library: host.mjs unix:PATH | tcp://ADDR | http://ADDR | exec:PROGRAM
//
// Calls a plugin that taxes `{"net": n}` and fails for 0, and prints how many answers were right.
import assert from "node:assert";
import { spawn } from "node:child_process";
import net from "node:net";
import readline from "node:readline";

let right = 0;
function check(found, expected) {
  assert.deepStrictEqual(found, expected);
  right += 1;
}

function open(address) {
  const socket = address.startsWith("unix:")
    ? net.connect(address.slice(5))
    : net.connect(Number(address.split(":").pop()), "127.0.0.1");
  socket.setTimeout(20000, () => process.exit(1));
  const lines = readline.createInterface({ input: socket })[Symbol.asyncIterator]();
  return {
    socket,
    next: async () => JSON.parse((await lines.next()).value),
    async ask(asked) {
      socket.write(JSON.stringify(asked) + "\n");
      return this.next();
    },
  };
}

async function overSocket(address) {
  const channel = open(address);
  const info = await channel.ask({ type: "info", request_id: "i", data: null, timeout_ms: 5000 });
  check([info.success, info.request_id, info.data.name], [true, "i", "tax"]);
  for (let number = 1; number < 20; number += 1) {
    const id = `r-${number}`;
    const asked = { type: "execute", request_id: id, data: { net: number * 100 }, timeout_ms: 1500 };
    const data = { gross: number * 122 };
    check(await channel.ask(asked), { type: "execute", request_id: id, success: true, data });
  }
  const failed = await channel.ask({ type: "execute", request_id: "f", data: { net: 0 } });
  const error = "nothing to tax";
  check(failed, { type: "execute", request_id: "f", success: false, error });
  const health = await channel.ask({ type: "health", request_id: "h", data: null });
  check([health.success, health.request_id], [true, "h"]);
  // Two at once are answered one after the other.
  const two = ["a", "b"].map((id) => ({ type: "ping", request_id: id, data: null }));
  channel.socket.write(two.map((asked) => JSON.stringify(asked)).join(""));
  check((await channel.next()).request_id, "a");
  check((await channel.next()).request_id, "b");
  channel.socket.destroy();
  // Many at once, each on a connection of its own.
  await Promise.all(
    Array.from({ length: 50 }, async (_, number) => {
      const channel = open(address);
      const asked = { type: "execute", request_id: `m-${number}`, data: { net: 100 * number + 100 } };
      const told = await channel.ask(asked);
      check([told.request_id, told.data.gross], [`m-${number}`, 122 * number + 122]);
      channel.socket.destroy();
    }),
  );
}

async function overHttp(address) {
  const post = async (body) => (await fetch(address, { method: "POST", body: JSON.stringify(body) })).json();
  for (let number = 1; number < 20; number += 1) {
    const told = await post({ data: { net: number * 100 }, request_id: "r", timeout: "1m30s" });
    check(told, { data: { gross: number * 122 }, request_id: "r" });
  }
  const failed = await post({ data: { net: 0 }, request_id: "r", timeout: "0s" });
  check(failed, { error: "nothing to tax", request_id: "r" });
  check((await (await fetch(`${address}/info`)).json()).name, "tax");
  check((await (await fetch(`${address}/health`)).json()).status, 1);
}

// The pipes that Node makes are sockets.
async function overStdio(address) {
  const child = spawn(address.slice(5), ["--stdio"], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((done) => child.on("exit", done));
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const say = (method, id, payload) => {
    const context = { request_id: id, timeout: 30000000000, max_retries: 3 };
    child.stdin.write(JSON.stringify({ id, method, payload, context }) + "\n");
  };
  const hear = async () => JSON.parse((await lines.next()).value);
  say("info", "i", null);
  check((await hear()).result.name, "tax");
  for (let number = 1; number < 20; number += 1) {
    say("execute", `r-${number}`, { net: number * 100 });
    check(await hear(), { id: `r-${number}`, result: { gross: number * 122 } });
  }
  say("execute", "f", { net: 0 });
  check(await hear(), { id: "f", error: "nothing to tax" });
  for (let number = 0; number < 50; number += 1) say("execute", `m-${number}`, { net: 100 });
  const ids = new Set();
  for (let number = 0; number < 50; number += 1) ids.add((await hear()).id);
  check(ids.size, 50);
  child.stdin.end();
  check(await ended, 0);
}

const [address] = process.argv.slice(2);
const over = { http: overHttp, exec: overStdio }[address.slice(0, 4)] ?? overSocket;
await over(address);
console.log("right:", right);
process.exit(0);
