// Everything that `web3.shh` of web3.js 1.x has, unchanged, over WebSocket:
//
//     node web3.js URL ENODE
//
// URL is that of the JSON-RPC interface, with its token; ENODE names a peer
// connected to the node. Ends with 0 if all is as geth has it. Two lines of JSON
// on standard output ask whoever started this to look at the peer:
// "listening" (have it post "from outside" to the chat "status"), and "posted"
// (see whether it received "from web3").
'use strict';

const assert = require('node:assert/strict');
const Web3 = require('web3');

const [url, enode] = process.argv.slice(2);
const web3 = new Web3(new Web3.providers.WebsocketProvider(url));
const { shh } = web3;

const emit = (event) => console.log(JSON.stringify({ event }));
const hex = (text) => web3.utils.utf8ToHex(text);
const KEY_ID = /^[0-9a-f]{64}$/;
const HASH = /^0x[0-9a-f]{64}$/;
const PUBLIC_KEY = /^0x04[0-9a-f]{128}$/;
const NOBODY = 'ab'.repeat(32);
const TOPIC = '0xcd423760';
const SECRET = '0x' + '33'.repeat(32);
const PUBLIC = '0x043c72addb4fdf09af94f0c94d7fe92a386a7e70cf8a1d85916386bb2535c7b1b1'
  + '3b306b0fe085665d8fc1b28ae1676cd3ad6e08eaeda225fe38d0da4de55703e0';

// Each step was run; a step of which web3.js has a method and we do not fails.
const used = new Set();
const call = (method, ...params) => {
  used.add(method);
  return shh[method](...params);
};

async function fails(text, method, ...params) {
  await assert.rejects(
    async () => call(method, ...params),
    (error) => {
      assert.equal(error.message, `Returned error: ${text}`, method);
      return true;
    },
    `${method} fails`,
  );
}

async function node() {
  assert.equal(await call('getVersion'), '6.0');
  const info = await call('getInfo');
  for (const [name, kind] of Object.entries({
    memory: 'number', messages: 'number', minPow: 'number', maxMessageSize: 'number',
  })) {
    assert.equal(typeof info[name], kind, name);
  }
  assert.equal(await call('setMaxMessageSize', info.maxMessageSize), true);
  // geth's ceiling is 10 MiB, ours what can be archived.
  await assert.rejects(
    async () => call('setMaxMessageSize', 10485761),
    /message size too large \[10485761>\d+\]$/,
  );
  assert.equal(await call('setMinPoW', info.minPow), true);
  await fails('invalid PoW: -1.000000', 'setMinPoW', -1);
  assert.equal(await call('markTrustedPeer', enode), true);
  await assert.rejects(
    async () => call('markTrustedPeer', `enode://${PUBLIC.slice(4)}@127.0.0.1:30303`),
    /[Cc]ould not find peer with ID: [0-9a-f]{64}$/,
  );
  assert.equal(await shh.net.isListening(), true);
  assert.ok(await shh.net.getPeerCount() >= 1);
  assert.equal(typeof await shh.net.getId(), 'number');
}

async function keyPairs() {
  const fresh = await call('newKeyPair');
  assert.match(fresh, KEY_ID);
  assert.match(await call('getPublicKey', fresh), PUBLIC_KEY);
  assert.match(await call('getPrivateKey', fresh), HASH);
  const given = await call('addPrivateKey', SECRET);
  assert.match(given, KEY_ID);
  assert.equal(await call('getPublicKey', given), PUBLIC);
  assert.equal(await call('getPrivateKey', given), SECRET);
  assert.equal(await call('hasKeyPair', given), true);
  assert.equal(await call('deleteKeyPair', given), true);
  assert.equal(await call('hasKeyPair', given), false);
  await fails(`key pair ${given} not found`, 'deleteKeyPair', given);
  await fails('invalid id', 'getPublicKey', given);
  await fails('invalid id', 'getPrivateKey', NOBODY);
  await assert.rejects(async () => call('addPrivateKey', '0x1234'), /need 256 bits/);
}

async function symKeys() {
  const fresh = await call('newSymKey');
  assert.match(fresh, KEY_ID);
  assert.match(await call('getSymKey', fresh), HASH);
  const given = await call('addSymKey', SECRET);
  assert.equal(await call('getSymKey', given), SECRET);
  assert.equal(await call('hasSymKey', given), true);
  assert.equal(await call('deleteSymKey', given), true);
  assert.equal(await call('hasSymKey', given), false);
  assert.equal(await call('deleteSymKey', given), false);
  await fails('non-existent key ID', 'getSymKey', given);
  await fails('wrong key size: 2', 'addSymKey', '0x1234');
  const derived = await call('generateSymKeyFromPassword', 'test');
  assert.equal(
    await call('getSymKey', derived),
    '0xa82a520aff70f7a989098376e48ec128f25f767085e84d7fb995a9815eebff0a',
  );
}

function isMessage(message, { text, symmetric, sig }) {
  assert.equal(web3.utils.hexToUtf8(message.payload), text);
  assert.equal(message.topic, TOPIC);
  assert.match(message.hash, HASH);
  assert.match(message.padding, /^0x/);
  for (const name of ['ttl', 'timestamp', 'pow']) {
    assert.equal(typeof message[name], 'number', name);
  }
  assert.ok(Math.abs(message.timestamp - Date.now() / 1000) < 120);
  if (sig) assert.equal(message.sig, sig);
  assert.equal(message.recipientPublicKey === undefined, symmetric);
}

// What a subscription is told, one after another.
function messagesOf(criteria) {
  const waiting = [];
  const came = [];
  used.add('subscribe');
  const subscription = shh.subscribe('messages', criteria);
  const ready = new Promise((resolve, reject) => {
    subscription.on('connected', resolve).on('error', reject);
  });
  subscription.on('data', (message) => {
    if (waiting.length) waiting.shift()(message);
    else came.push(message);
  });
  const next = () => (came.length
    ? Promise.resolve(came.shift())
    : new Promise((resolve) => waiting.push(resolve)));
  return { subscription, ready, next };
}

async function drained(filter, count) {
  const all = [];
  while (all.length < count) {
    all.push(...await call('getFilterMessages', filter));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return all;
}

async function messages() {
  const symKeyID = await call('generateSymKeyFromPassword', 'status');
  const sig = await call('newKeyPair');
  const pubKey = await call('getPublicKey', sig);

  const filter = await call('newMessageFilter', { symKeyID, topics: [TOPIC] });
  assert.match(filter, KEY_ID);
  const asymmetric = await call('newMessageFilter', { privateKeyID: sig });
  const live = messagesOf({ symKeyID, topics: [TOPIC], minPow: 0.0005 });
  assert.match(await live.ready, /^0x[0-9a-f]+$/);

  emit('listening');
  isMessage(await live.next(), { text: 'from outside', symmetric: true });
  const [heard] = await drained(filter, 1);
  isMessage(heard, { text: 'from outside', symmetric: true });

  const post = {
    symKeyID, sig, ttl: 30, topic: TOPIC, payload: hex('from web3'), powTime: 5, powTarget: 0.001,
  };
  const hash = await call('post', post);
  assert.match(hash, HASH);
  const told = await live.next();
  isMessage(told, { text: 'from web3', symmetric: true, sig: pubKey });
  assert.equal(told.hash, hash);
  assert.equal((await drained(filter, 1))[0].hash, hash);
  assert.deepEqual(await call('getFilterMessages', filter), []);
  emit('posted');

  const { symKeyID: _, ...toKey } = { ...post, pubKey, payload: hex('to a key') };
  await call('post', toKey);
  const [own] = await drained(asymmetric, 1);
  isMessage(own, { text: 'to a key', symmetric: false, sig: pubKey });
  assert.equal(own.recipientPublicKey, pubKey);

  const either = 'specify either a symmetric or an asymmetric key';
  await fails(either, 'post', { ...post, pubKey });
  await fails(either, 'post', { ...toKey, pubKey: undefined });
  await fails('invalid id', 'post', { ...post, sig: NOBODY });
  await fails('missing topic(s)', 'post', { ...post, topic: undefined });
  await fails('non-existent key ID', 'post', { ...post, symKeyID: NOBODY });
  await fails('invalid public key', 'post', { ...toKey, pubKey: '0x04' + '00'.repeat(64) });
  await fails(
    'failed to reach the PoW target, specified pow time (0 seconds) was insufficient',
    'post', { ...post, powTime: 0, powTarget: 1 },
  );
  await fails('message rejected, PoW too low', 'post', { ...post, powTarget: 0.0000001 });
  await fails(either, 'newMessageFilter', { topics: [TOPIC] });
  await fails('invalid id', 'newMessageFilter', { privateKeyID: NOBODY });
  await assert.rejects(messagesOf({ symKeyID }).ready, /missing topic\(s\)/);

  assert.equal(await call('deleteMessageFilter', asymmetric), true);
  await fails('filter not found', 'getFilterMessages', asymmetric);
  await fails('Unsubscribe: Invalid ID', 'deleteMessageFilter', asymmetric);
  const { id } = live.subscription;
  assert.equal(await new Promise((resolve, reject) => {
    live.subscription.unsubscribe((error, ended) => (error ? reject(error) : resolve(ended)));
  }), true);
  await fails('subscription not found', 'unsubscribe', id);

  // Straight to the peer, past all checks of work.
  assert.match(await call('post', { ...post, targetPeer: enode }), HASH);
  await messagesOf({ symKeyID, topics: [TOPIC] }).ready;
  used.add('clearSubscriptions');
  shh.clearSubscriptions();
}

async function batch() {
  used.add('BatchRequest');
  const requests = new shh.BatchRequest();
  const answers = ['getVersion', 'newSymKey'].map((method) => new Promise((resolve, reject) => {
    requests.add(shh[method].request((error, answer) => (error ? reject(error) : resolve(answer))));
  }));
  requests.execute();
  const [version, key] = await Promise.all(answers);
  assert.equal(version, '6.0');
  assert.match(key, KEY_ID);
}

// What a package has that concerns no node.
const LOCAL = new Set([
  'currentProvider', '_requestManager', 'givenProvider', 'providers', '_provider', 'setProvider',
  'setRequestManager', 'extend', 'net',
]);

(async () => {
  await node();
  await keyPairs();
  await symKeys();
  await messages();
  await batch();
  const unused = Object.keys(shh).filter((name) => !LOCAL.has(name) && !used.has(name));
  assert.deepEqual(unused, [], 'methods of web3.shh that were not used');
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
