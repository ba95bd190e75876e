// Node `ws` as a client of the echo server at the URL given; a line for each check.
import { once } from "node:events";
import { createRequire } from "node:module";

const require = createRequire(process.env.INTEROP_NODE + "/");
const { WebSocket } = require("ws");

const CHECK_TIMEOUT = 20_000;
const MIB = 1 << 20;
const UNICODE = "κόσμε 𝄞 ﷽ \u{10ffff} \0 ß";
const PIPELINED = 10_000;
const SIMILAR = 200; // Messages that a context taken over makes small.
const EXTENSIONS = process.argv.slice(3); // What has to be agreed on.
// A final binary frame of 2^40 bytes, masked with zeros: only the header is ever sent.
const HUGE_HEADER = Buffer.from("82ff" + "0000010000000000" + "00000000", "hex");

const CHECKS = {
  text: (url) => echo(url, "text"),
  binary: (url) => echo(url, BYTES(256)),
  empty: (url) => echo(url, "", Buffer.alloc(0)),
  one_mebibyte: (url) => echo(url, "x".repeat(MIB), BYTES(MIB)),
  async similar(url) {
    const peer = await open(url);
    expect(peer.ws.extensions.split(";")[0], EXTENSIONS.join());
    for (let i = 0; i < SIMILAR; i++) {
      const items = Array.from({ length: 20 }, (_, j) => ({ id: i * j, name: `user ${j}`, active: true }));
      peer.ws.send(JSON.stringify(items));
      expect(await peer.message(), JSON.stringify(items));
    }
    await peer.close();
  },

  unicode: (url) => echo(url, UNICODE),

  async fragmented(url) {
    const peer = await open(url);
    sendFragments(peer.ws, ["", "one ", "two ", "", "three"].map(Buffer.from), false);
    expect(await peer.message(), "one two three");
    sendFragments(peer.ws, [Buffer.alloc(1), BYTES(70_000), Buffer.alloc(0)], true);
    expect(await peer.message(), Buffer.concat([Buffer.alloc(1), BYTES(70_000)]));
    await peer.close();
  },

  async fragmented_inside_a_code_point(url) {
    const peer = await open(url);
    sendFragments(peer.ws, [...Buffer.from(UNICODE)].map((byte) => Buffer.from([byte])), false);
    expect(await peer.message(), UNICODE);
    await peer.close();
  },

  async ping_is_answered(url) {
    const peer = await open(url);
    for (const payload of [Buffer.alloc(0), Buffer.from("payload"), Buffer.alloc(125)]) {
      peer.ws.ping(payload);
      const [pong] = await once(peer.ws, "pong");
      expect(pong, payload);
    }
    await peer.close();
  },

  async unasked_pong_is_ignored(url) {
    const peer = await open(url);
    peer.ws.pong("unasked");
    peer.ws.send("after");
    expect(await peer.message(), "after");
    await peer.close();
  },

  async subprotocol(url) {
    const peer = await open(url, ["nobody.speaks.this", "chat"]);
    expect(peer.ws.protocol, "chat");
    await peer.close();
  },

  async pipelined(url) {
    const peer = await open(url);
    for (let i = 0; i < PIPELINED; i++) peer.ws.send(`message ${i}`);
    for (let i = 0; i < PIPELINED; i++) expect(await peer.message(), `message ${i}`);
    await peer.close();
  },

  async close_with_code_and_reason(url) {
    const peer = await open(url);
    peer.ws.close(4001, "bye 🙋");
    expect(await peer.closed, 4001);
  },

  async close_without_code(url) {
    const peer = await open(url);
    peer.ws.close();
    // `ws` sends an empty Close, and tells 1005 for one.
    const code = await peer.closed;
    expect([1000, 1005].includes(code) ? "1000 or empty" : code, "1000 or empty");
  },

  async too_big_is_1009(url) {
    const peer = await open(url);
    peer.ws._socket.write(HUGE_HEADER);
    expect(await peer.closed, 1009);
  },

  async invalid_utf8_is_1007(url) {
    const peer = await open(url);
    peer.ws.send(Buffer.from([0x61, 0x62, 0xff]), { binary: false });
    expect(await peer.closed, 1007);
  },

  async foreign_origin_is_403(url) {
    const ws = new WebSocket(url, { origin: "http://elsewhere.example" });
    ws.on("error", () => {});
    const status = await new Promise((resolve) => {
      ws.on("unexpected-response", (_, response) => resolve(response.statusCode));
      ws.on("open", () => resolve("an open connection"));
    });
    ws.terminate();
    expect(status, 403);
  },
};

function BYTES(length) {
  return Buffer.from({ length }, (_, i) => i & 0xff);
}

async function echo(url, ...messages) {
  const peer = await open(url);
  for (const message of messages) {
    peer.ws.send(message);
    expect(await peer.message(), message);
  }
  await peer.close();
}

/** An open connection: `message()` is the next one, `closed` the code of the peer's Close, 1006 without. */
async function open(url, protocols = []) {
  const ws = new WebSocket(url, protocols, { perMessageDeflate: EXTENSIONS.length > 0 && { threshold: 256 } });
  const arrived = [];
  let wake = () => {};
  ws.on("message", (data, isBinary) => {
    arrived.push(isBinary ? data : data.toString());
    wake();
  });
  const closed = new Promise((resolve) => ws.on("close", resolve));
  await once(ws, "open");
  return {
    ws,
    closed,
    async message() {
      while (arrived.length === 0) {
        await Promise.race([new Promise((resolve) => (wake = resolve)), closed.then(fail)]);
      }
      return arrived.shift();
    },
    async close() {
      ws.close(1000);
      expect(await closed, 1000);
    },
  };
}

function sendFragments(ws, fragments, binary) {
  fragments.forEach((fragment, i) => ws.send(fragment, { binary, fin: i === fragments.length - 1 }));
}

function expect(got, wanted) {
  const same = Buffer.isBuffer(wanted) ? Buffer.isBuffer(got) && got.equals(wanted) : got === wanted;
  if (!same) throw new Error(`got ${brief(got)}, wanted ${brief(wanted)}`);
}

function brief(value) {
  return String(Buffer.isBuffer(value) ? value.toString("hex") : JSON.stringify(value)).slice(0, 80);
}

function fail(code) {
  throw new Error(`closed with ${code} instead of a message`);
}

const url = process.argv[2];
for (const [name, check] of Object.entries(CHECKS)) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("time limit")), CHECK_TIMEOUT)));
  try {
    await Promise.race([check(url), late]);
    console.log(`ok ${name}`);
  } catch (error) {
    console.log(`FAILED ${name}: ${error.message}`);
  }
  clearTimeout(timer);
}
process.exit(0);
