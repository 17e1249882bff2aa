// Murmur, a Whisper node in JavaScript, driven like the peer of `../status`:
// commands are lines of JSON on standard input, events lines of JSON on
// standard output.
//
// Everything of Whisper here is the package `murmur-client`, unchanged.
'use strict';

const readline = require('readline');
const Provider = require('murmur-client/src/provider');
const Manager = require('murmur-client/src/manager');
const DevP2PNode = require('murmur-client/src/devp2p-node');
const SHH = require('murmur-client/src/shh').default;
const { keccak256 } = require('eth-lib/lib/hash');
const rlp = require('rlp-encoding');

const emit = (event, facts) => console.log(JSON.stringify({ event, ...facts }));

// Message codes of 128 and more, and so all of a mailserver's answer, take two
// bytes. The published `ethereumjs-devp2p` takes the first for the code; the
// fork that murmur was written against, which is published nowhere, does not.
const OFFSET = 16;
const TWO_BYTES = 0x81 - OFFSET;
const handle = SHH.prototype._handleMessage;
SHH.prototype._handleMessage = function (code, data) {
  const whole = code === TWO_BYTES ? [data[0] - OFFSET, data.slice(1)] : [code, data];
  if (whole[0] === 125) {
    const payload = rlp.decode(whole[1]);
    emit('completed', { payload: '0x' + payload.toString('hex') });
  }
  handle.apply(this, whole);
  // Murmur has answered with its own status then, before which it may send
  // nothing else.
  if (whole[0] === 0) emit('connected', {});
};

const provider = new Provider();
const node = new DevP2PNode();
node.setConfig({ account: '', devp2p: { staticNodes: [], bootnodes: [] } });
const manager = new Manager(provider, { isBridge: false, ignoreBloomFilters: false });
manager.setupNodes([node]);
manager.start();
node.start();
node.rlpx.on('peer:removed', () => emit('dropped', {}));
provider.on('data', ({ params: { result } }) => {
  const text = Buffer.from(result.payload.slice(2), 'hex').toString();
  emit('message', { text, topic: result.topic });
});

const call = (method, ...params) => new Promise((resolve, reject) => {
  provider.sendAsync({ id: 1, method, params }, (error, answer) =>
    error ? reject(error) : resolve(answer.result));
});
// These two never call back.
const send = (method, ...params) => call(method, ...params).catch((error) =>
  emit('failed', { error: String(error) }));

const topicOf = (chat) => keccak256('0x' + Buffer.from(chat).toString('hex')).slice(0, 10);

let server;
let identity;
const chats = {};
const commands = {
  async connect({ enode }) {
    server = enode;
    identity = await call('shh_newKeyPair');
    await call('admin_addPeer', enode);
  },
  // The enode URL is compared as text with what murmur makes of a connection.
  async trust() {
    await call('shh_markTrustedPeer', server);
    emit('trusted', {});
  },
  async chat({ chat }) {
    chats[chat] = await call('shh_generateSymKeyFromPassword', chat);
    await call('shh_subscribe', 'messages', {
      symKeyID: chats[chat], topics: [topicOf(chat)], allowP2P: true,
    });
    emit('joined', { chat });
  },
  async post({ chat, text }) {
    send('shh_post', {
      symKeyID: chats[chat], sig: identity, ttl: 10, topic: topicOf(chat),
      powTarget: 0.001, powTime: 1, payload: '0x' + Buffer.from(text).toString('hex'),
    });
  },
  async request({ password, chat, limit }) {
    const symKeyID = await call('shh_generateSymKeyFromPassword', password);
    await call('shh_setMinPoW', 0.001);
    send('shhext_requestMessages', {
      mailserverPeer: server, topics: [topicOf(chat)], symKeyID, limit,
    });
  },
};

// In the order they come: each waits for the one before.
let last = Promise.resolve();
readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line);
  last = last
    .then(() => commands[command.do](command))
    .catch((error) => emit('failed', { error: String(error) }));
}).on('close', () => process.exit(0));
emit('started', {});
