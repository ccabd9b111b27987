// node as a web server: httpd.js PORT DIRECTORY. /worker asks a worker thread, /lookup resolves a name.
const crypto = require('crypto');
const dns = require('dns');
const fs = require('fs');
const http = require('http');
const path = require('path');
const { Worker, isMainThread, parentPort } = require('worker_threads');

if (!isMainThread) {
  parentPort.on('message', (n) => {
    parentPort.postMessage(crypto.createHash('sha256').update(`work ${n}`).digest('hex'));
  });
} else {
  const worker = new Worker(__filename);
  const waiting = [];
  worker.on('message', (text) => waiting.shift().end(text));
  const server = http.createServer((request, response) => {
    if (request.url === '/worker') {
      waiting.push(response);
      worker.postMessage(7);
    } else if (request.url === '/lookup') {
      dns.lookup('localhost', { family: 4 }, (error, address) => response.end(error ? error.code : address));
    } else {
      fs.readFile(path.join(process.argv[3], path.basename(request.url)), (error, data) => {
        response.statusCode = error ? 404 : 200;
        response.end(error ? error.code : data);
      });
    }
  });
  server.keepAliveTimeout = 60000;
  server.listen(Number(process.argv[2]), '127.0.0.1', 2048);
  process.on('SIGTERM', () => process.exit(0));
}
