// A plugin and a host in Node, over grpc-js: over_grpc.mjs plugin SOCKET | over_grpc.mjs host ADDRESS
//
// The plugin taxes `{"net": n}`, fails for 0, and takes `sleep_ms` if the call has that. The host calls such a
// plugin, and prints how many answers were right.
import assert from "node:assert";
import { createRequire } from "node:module";

// Found by NODE_PATH, too.
const grpc = createRequire(import.meta.url)("@grpc/grpc-js");

const info = { name: "tax", version: "2.1.0", description: "taxes", capabilities: ["vat"] };
const same = (message) => message;
const json = (value) => Buffer.from(JSON.stringify(value));

function method(name) {
  return {
    path: `/PluginService/${name}`,
    requestStream: false,
    responseStream: false,
    requestDeserialize: same,
    responseSerialize: same,
  };
}

async function execute(call) {
  const data = JSON.parse(call.request.toString());
  await new Promise((done) => setTimeout(done, data.sleep_ms ?? 0));
  if (data.net === 0) throw new Error("nothing to tax: 0 < 1 & \u00fc");
  if (data.net === 1) {
    const metadata = new grpc.Metadata();
    metadata.set("grpc-retry-pushback-ms", "1500");
    throw Object.assign(new Error("no rates"), { code: grpc.status.UNAVAILABLE, details: "no rates", metadata });
  }
  return json({ gross: Math.floor((data.net * 122) / 100), tenant: call.metadata.get("x-tenant")[0] ?? "" });
}

function plugin(socket) {
  const server = new grpc.Server();
  const answering = (answer) => (call, done) => {
    answer(call).then((told) => done(null, told), (error) => done(error));
  };
  server.addService(
    { Execute: method("Execute"), Health: method("Health"), Info: method("Info") },
    {
      Execute: answering(execute),
      Health: answering(async () => json({ status: 2, message: "cold" })),
      Info: answering(async () => json(info)),
    },
  );
  const plain = grpc.ServerCredentials.createInsecure();
  server.bindAsync(`unix:${socket}`, plain, (error) => {
    if (error) throw error;
    server.bindAsync("127.0.0.1:0", plain, (failed, port) => {
      if (failed) throw failed;
      console.log(`grpc://127.0.0.1:${port}`);
    });
  });
  // Ends with the program that started it.
  process.stdin.resume().on("end", () => process.exit(0));
}

async function host(address) {
  let right = 0;
  const check = (found, expected) => {
    assert.deepStrictEqual(found, expected);
    right += 1;
  };
  const client = new grpc.Client(address, grpc.credentials.createInsecure());
  const own = new grpc.Metadata();
  own.set("x-api-key", "k-17");
  const deadline = Date.now() + 20000;
  const call = (path, message, metadata = own) =>
    new Promise((done, fail) => {
      const heard = (error, told) => (error ? fail(error) : done(told));
      client.makeUnaryRequest(path, same, same, message, metadata, { deadline }, heard);
    });
  const failed = (...of) => call(...of).then(() => null, (error) => [error.code, error.details]);
  for (let number = 1; number < 20; number += 1) {
    const told = await call("/PluginService/Execute", json({ net: number * 100 }));
    check(JSON.parse(told.toString()), { gross: number * 122 });
  }
  check(await call("/plugin.PluginService/Execute", Buffer.from([8, 100])), Buffer.from([8, 122]));
  check(await failed("/PluginService/Execute", json({ net: 0 })), [2, "nothing to tax: 0 < 1 & \u00fc"]);
  check((await failed("/PluginService/Execute", json({ net: "x" })))[0], 3);
  check((await failed("/PluginService/Nothing", Buffer.alloc(0)))[0], 12);
  check(JSON.parse((await call("/PluginService/Info", Buffer.alloc(0))).toString()).name, "tax");
  check(await call("/grpc.health.v1.Health/Check", Buffer.alloc(0)), Buffer.from([8, 1]));
  const path = "/grpc.health.v1.Health/Watch";
  const watch = client.makeServerStreamRequest(path, same, same, Buffer.alloc(0), own, { deadline });
  const statuses = watch[Symbol.asyncIterator]();
  check((await statuses.next()).value, Buffer.from([8, 1]));
  for (const status of [2, 1]) {
    // Falls ill, or gets well.
    await call("/PluginService/Execute", json({ net: 3 }));
    check((await statuses.next()).value, Buffer.from([8, status]));
  }
  watch.on("error", () => {}).cancel();
  const nothing = new grpc.Metadata();
  check(await failed("/PluginService/Execute", json({ net: 100 }), nothing), [16, "not authorized"]);
  const many = Array.from({ length: 50 }, () => call("/PluginService/Execute", json({ net: 100 })));
  for (const told of await Promise.all(many)) check(JSON.parse(told.toString()), { gross: 122 });
  check(await failed("/PluginService/Execute", json({ net: 2 })), [8, "[RATELIMIT_1501] rate limit exceeded"]);
  console.log("right:", right);
  process.exit(0);
}

const [role, place] = process.argv.slice(2);
await (role === "host" ? host(place) : plugin(place));
