// Node `ws` as a server: each path behaves in its own way, each end is a JSON line. The port may be given.
import { once } from "node:events";
import { createServer } from "node:http";
import { createRequire } from "node:module";

const require = createRequire(process.env.INTEROP_NODE + "/");
const { WebSocketServer } = require("ws");

const MIB = 1 << 20;
const FLOOD = 10_000;
// A final binary frame of 2^40 bytes: only the header is ever sent.
const HUGE_HEADER = Buffer.from("827f" + "0000010000000000", "hex");

const BEHAVIOURS = {
  "/echo": echo,

  "/fragmented"(ws) {
    const bytes = [...Buffer.from("fragmented κόσμε 𝄞")];
    bytes.forEach((byte, i) => ws.send(Buffer.from([byte]), { binary: false, fin: i === bytes.length - 1 }));
    echo(ws);
  },

  "/binary"(ws) {
    ws.send(Buffer.from("binary"));
    ws.send("after");
    echo(ws);
  },

  async "/ping"(ws) {
    echo(ws);
    for (const payload of [Buffer.alloc(0), Buffer.from("payload"), Buffer.alloc(125)]) {
      ws.ping(payload);
      const [pong] = await once(ws, "pong");
      if (!pong.equals(payload)) ws.terminate();
    }
    ws.pong("unasked");
    ws.send("three pongs");
  },

  "/header"(ws, request) {
    ws.send(request.headers["x-interop"]);
    echo(ws);
  },

  "/subprotocol"(ws) {
    ws.send(ws.protocol);
    echo(ws);
  },

  "/flood"(ws) {
    for (let i = 0; i < FLOOD; i++) ws.send(`message ${i}`);
    ws.close(1000, "all sent");
  },

  "/close": (ws) => ws.close(4001, "done"),
  "/too-big": (ws) => ws._socket.write(HUGE_HEADER),
  "/invalid-utf8": (ws) => ws.send(Buffer.from([0x61, 0x62, 0xff]), { binary: false }),
  "/drop": (ws) => ws.terminate(),
};

function echo(ws) {
  ws.on("message", (data, isBinary) => ws.send(data, { binary: isBinary }));
}

const sockets = new WebSocketServer({
  noServer: true,
  maxPayload: 2 * MIB,
  perMessageDeflate: { threshold: 256 },
  handleProtocols: (offered) => (offered.has("chat") ? "chat" : false),
});

const server = createServer();
server.on("upgrade", (request, socket, head) => {
  const path = request.url;
  if (!(path in BEHAVIOURS)) {
    socket.end("HTTP/1.1 418 I'm a Teapot\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    return;
  }
  sockets.handleUpgrade(request, socket, head, (ws) => {
    ws.on("error", () => {});
    ws.on("close", (code) => console.log(JSON.stringify({ path, code })));
    BEHAVIOURS[path](ws, request);
  });
});
server.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  const { address, port } = server.address();
  console.log(`listening on ${address}:${port}`);
});
