"use strict";
// A Runwright plugin in Node.js: formats amounts and dates the way readers of a language expect them.

const fs = require("node:fs");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");
const { HealthImplementation } = require("grpc-health-check");

const definition = loader.loadSync(path.join(__dirname, "plugin.proto"), { keepCase: true, defaults: true });
const { Plugin } = grpc.loadPackageDefinition(definition).runwright.plugin.v1;

const argsSchema = {
  type: "object",
  properties: {
    locale: { type: "string" },
    amount: { type: "number" },
    currency: { type: "string", minLength: 3, maxLength: 3 },
    date: { type: "string" },
    file: { type: "string" },
    seconds: { type: "number" },
  },
  required: ["locale"],
  additionalProperties: false,
};

class Failure extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

// What the tasks do ------------------------------------------------------------------------------------------------

async function format(task, outputDir, log, stopped) {
  const { locale, amount, currency, date, file, seconds } = JSON.parse(task.args);
  if (Intl.DateTimeFormat.supportedLocalesOf([locale]).length === 0) {
    throw new Failure("E_LOCALE", `this Node.js does not know the locale ${locale}`);
  }
  if (seconds) await Promise.race([stopped, new Promise((done) => setTimeout(done, seconds * 1000))]);
  const words = [];
  if (amount !== undefined) {
    words.push(new Intl.NumberFormat(locale, { style: "currency", currency: currency ?? "EUR" }).format(amount));
  }
  if (date !== undefined) {
    words.push(new Intl.DateTimeFormat(locale, { dateStyle: "full", timeZone: "UTC" }).format(new Date(date)));
  }
  const text = words.join(", ");
  log(`${locale}: ${text}\n`);
  if (!file) return { value: text, outputs: [] };
  fs.writeFileSync(path.join(outputDir, file), `${text}\n`);
  return { value: text, outputs: [file] };
}

// How they are spoken about ----------------------------------------------------------------------------------------

const sessions = new Map();

function handshake(call, answer) {
  const version = call.request.versions.includes(1) ? 1 : 0;
  answer(null, { version, name: "intl", plugin_version: "1.0.0", args_schema: JSON.stringify(argsSchema) });
}

function openSession(call) {
  sessions.set(call.request.session_id, call);
  call.write({ opened: {} });
}

function closeSession(call, answer) {
  sessions.get(call.request.session_id)?.end();
  sessions.delete(call.request.session_id);
  answer(null, {});
}

function execute(call) {
  let stop;
  const stopped = new Promise((_, reject) => (stop = () => reject(new Failure("stopped", ""))));
  stopped.catch(() => {});
  call.on("cancelled", stop);
  call.on("data", async (order) => {
    if (order.stop) return stop();
    if (!order.start) return; // this plugin shares the files of Runwright, so none are sent
    const { task, output_dir: outputDir } = order.start;
    const log = (text) => call.write({ log: { stream: "STDOUT", data: Buffer.from(text) } });
    try {
      const { value, outputs } = await format(task, outputDir, log, stopped);
      call.write({ result: { task_id: task.id, value: JSON.stringify(value), outputs } });
    } catch (error) {
      if (error.code === "stopped") call.write({ stopped: {} });
      else call.write({ failure: { code: error.code?.startsWith("E_") ? error.code : "E_PLUGIN", message: error.message } });
    }
    call.end();
  });
}

const server = new grpc.Server();
server.addService(Plugin.service, {
  Handshake: handshake,
  OpenSession: openSession,
  CloseSession: closeSession,
  Execute: execute,
});
new HealthImplementation({ "": "SERVING" }).addToServer(server);
server.bindAsync(`unix:${process.env.RUNWRIGHT_PLUGIN_SOCKET}`, grpc.ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
});
process.on("SIGTERM", () => server.forceShutdown() || process.exit(0));
