// A host in Node, over its own standard library: host.mjs unix:PATH | tcp://ADDR | http://ADDR
//
// Calls a plugin that taxes `{"net": n}` and fails for 0, and prints how many answers were right.
import assert from "node:assert";
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

const [address] = process.argv.slice(2);
await (address.startsWith("http") ? overHttp : overSocket)(address);
console.log("right:", right);
process.exit(0);
