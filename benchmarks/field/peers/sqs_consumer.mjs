// sqs-consumer, on Node: as many consumers as the concurrency asked for needs, each holding ten messages, with
// heartbeats; deletes one by one after handleMessage, or ten at a time after handleMessageBatch.
//
// Its packages are those of the environment whose node runs this file.

import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

const require = createRequire(process.execPath);
const { SQSClient } = require("@aws-sdk/client-sqs");
const { Consumer } = require("sqs-consumer");

const asked = {
  endpoint: process.env.BENCH_ENDPOINT,
  queueUrl: process.env.BENCH_QUEUE_URL,
  concurrency: Number(process.env.BENCH_CONCURRENCY),
  handler: process.env.BENCH_HANDLER,
  milliseconds: Number(process.env.BENCH_SECONDS) * 1000,
  notes: process.env.BENCH_NOTES,
  visibility: Number(process.env.BENCH_VISIBILITY),
  batches: process.env.PEER_HANDLER === "batch",
};
const MOST_IN_A_RECEIVE = 10;
const RECORD = 24;

/** When each payload was handled, in the harness's file: first start, latest finish, starts, finishes. */
class Notes {
  constructor(path) {
    this.file = openSync(path, "r+");
    this.record = Buffer.alloc(RECORD);
  }

  change(body, alter) {
    const at = Number(body.slice(0, 7)) * RECORD;
    readSync(this.file, this.record, 0, RECORD, at);
    alter(this.record, Number(process.hrtime.bigint()) / 1e9);
    writeSync(this.file, this.record, 0, RECORD, at);
  }

  start(body) {
    this.change(body, (record, now) => {
      if (!record.readDoubleLE(0)) record.writeDoubleLE(now, 0);
      record.writeUInt32LE(record.readUInt32LE(16) + 1, 16);
    });
  }

  finish(body) {
    this.change(body, (record, now) => {
      record.writeDoubleLE(now, 8);
      record.writeUInt32LE(record.readUInt32LE(20) + 1, 20);
    });
  }
}

/** Spend CPU time: of the clock on the wall, for Linux counts a thread's in steps of milliseconds. */
function burn() {
  const end = process.hrtime.bigint() + BigInt(Math.round(asked.milliseconds * 1e6));
  while (process.hrtime.bigint() < end);
}

const works = {
  noop: async () => {},
  wait: () => sleep(asked.milliseconds),
  burn: async () => burn(),
};

function noted(work) {
  const notes = new Notes(asked.notes);
  process.on("exit", () => closeSync(notes.file));
  return async (body) => {
    notes.start(body);
    await work(body);
    notes.finish(body);
  };
}

const handle = asked.notes ? noted(works[asked.handler]) : works[asked.handler];

const handlers = {
  async handleMessage(message) {
    await handle(message.Body);
    return message;
  },
  async handleMessageBatch(messages) {
    await Promise.all(messages.map((message) => handle(message.Body)));
    return messages;
  },
};

function consumer(sqs) {
  const { handleMessage, handleMessageBatch } = handlers;
  const created = Consumer.create({
    queueUrl: asked.queueUrl,
    sqs,
    batchSize: Math.min(asked.concurrency, MOST_IN_A_RECEIVE),
    waitTimeSeconds: 20,
    visibilityTimeout: asked.visibility,
    heartbeatInterval: asked.visibility / 2,
    pollingCompleteWaitTimeMs: 30_000,
    ...(asked.batches ? { handleMessageBatch } : { handleMessage }),
  });
  for (const name of ["error", "processing_error"]) created.on(name, (error) => console.error(error.message));
  return created;
}

/** Stop as the library's readme does: no new polls, and wait for the polls and messages in flight. */
function stop(consumers) {
  let running = consumers.length;
  for (const each of consumers) {
    each.once("stopped", () => {
      running -= 1;
      if (!running) process.exit(0);
    });
    each.stop();
  }
}

const count = Math.ceil(asked.concurrency / MOST_IN_A_RECEIVE);
const sockets = asked.concurrency + count; // each message may have a call of its own, each consumer has its poll
const sqs = new SQSClient({ endpoint: asked.endpoint, requestHandler: { httpAgent: { maxSockets: sockets } } });
const consumers = Array.from({ length: count }, () => consumer(sqs));
process.once("SIGTERM", () => stop(consumers));
for (const each of consumers) each.start();
