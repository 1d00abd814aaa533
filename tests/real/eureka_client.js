// Announces `js-app` with eureka-js-client, tells on stdout what it sees, and leaves when stdin ends.
//
// node eureka_client.js PORT

const { Eureka } = require('eureka-js-client');

const client = new Eureka({
  instance: {
    app: 'js-app',
    instanceId: 'js-1',
    hostName: 'localhost',
    ipAddr: '127.0.0.1',
    port: { $: 9002, '@enabled': true },
    vipAddress: 'js-app',
    dataCenterInfo: { '@class': 'com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo', name: 'MyOwn' },
  },
  eureka: {
    host: '127.0.0.1',
    port: Number(process.argv[2]),
    servicePath: '/eureka/apps/',
    heartbeatInterval: 500,
    registryFetchInterval: 500,
    shouldUseDelta: true,
    maxRetries: 1,
  },
  logger: { debug() {}, info() {}, warn: console.error, error: console.error },
});

client.start((error) => {
  if (error) throw error;
  const lines = require('readline').createInterface({ input: process.stdin });
  lines.on('line', (app) => {
    const ids = client.getInstancesByAppId(app).map((instance) => instance.instanceId).sort();
    console.log(`${app}: ${ids.join(' ')}`);
  });
  lines.on('close', () => client.stop(() => process.exit(0)));
});
