// deno-fmt-ignore-file -- one spelling a line would be three hundred lines
/** Spellings: the valid that messages are made of, and those that parsers disagree about. Text is Latin-1. */

export const METHODS: readonly string[] = ["GET", "GET", "GET", "POST", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "PROPFIND", "M-SEARCH", "BREW", "get"];
export const HOSTS: readonly string[] = ["app.test", "app.test", "app.test", "app.test", "APP.test", "app.test.", "app.test:80", "app.test:", "other.test", "[::1]:8080"];
export const PATHS: readonly string[] = [
  "/", "/", "/a/b/c.html", "/?", "/?a=1&b=%20", "//x", "/../..", "/%2e%2e/%00", "/a;b=c?d=/e?f", "/\xe4\xf6", "/\"<>\\^`{|}", "/http://x/",
  "/*", `/${"a".repeat(200)}`,
];
export const VALUES: readonly string[] = [
  "", "a", "a, b", "text/html;q=0.9,*/*;q=0.8", "\"quoted \\\" string\"", "a\tb", "caf\xe9", "\x80\xff", "  inner  space", "close", "chunked", "5",
  "GET / HTTP/1.1", ":", "a:b", "0", "{\"a\":1}", "x".repeat(300),
];
export const NAMES: readonly string[] = ["Accept", "User-Agent", "Cookie", "X-A", "x-a", "!#$%&'*+-.^_`|~9", "Content-Type", "Via", "Forwarded", "X-Forwarded-For", "X_A",
  "X-Real-IP", "Keep-Alive", "Proxy-Connection", "Trailer", "HTTP2-Settings", "Range", "Date", "Server"];
export const CONNECTIONS: readonly string[] = ["keep-alive", "close", "Keep-Alive", "CLOSE", "X-A", "close, X-A", "keep-alive, TE", "TE", "x-a,x-b", "", "Upgrade", "host"];
export const EXTENSIONS: readonly string[] = ["", "", "", "", ";a", ";a=b", ";a=\"b;c\"", ";a=b;c=d", ";a=\"\xe9\""];
export const BODIES: readonly string[] = ["", "a", "hello", "0\r\n\r\n", "GET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n", "\r\n", "\0\xff", "x".repeat(100)];
export const REASONS: readonly string[] = [" OK", " OK", " OK", " Not Found", " ", "", " caf\xe9", " a\tb", " 200 OK"];
export const STATUSES: readonly string[] = ["200", "200", "200", "201", "204", "304", "404", "500", "206", "301", "599", "999", "205"];

/** Bytes that parsers disagree about. */
export const SPACES: readonly string[] = [" ", "\t", "\x0b", "\x0c", "\r", "\n", "\0", "\xa0", "\x85", "\x08", "\x7f", "\x1f", "  ", "\r\n ", "\r\n\t", "\n ", "\r "];
export const LINE_ENDS: readonly string[] = ["\n", "\r", "\r\r\n", "\n\r", "\r\n\r\n", "\r\n ", "\r\n\t", "", "\n\n", "\0\r\n", " \r\n", "\x0b\r\n", "\x85"];
export const FRAMING_FIELDS: readonly string[] = [
  "Content-Length: 0", "Content-Length: 5", "Content-Length: 6", "content-length:5", "Content-Length: +5", "Content-Length: -5",
  "Content-Length: 5, 5", "Content-Length: 5,6", "Content-Length: 0x5", "Content-Length: 5 ", "Content-Length:\t5", "Content-Length: 5\t",
  "Content-Length: ", "Content-Length: 1e1", "Content-Length: 18446744073709551621", "Content-Length: 99999999999999999999", "Content-Length: 5;",
  "Content-Length: 0005", "Content-Length : 5", " Content-Length: 5", "Content_Length: 5", "Content-Length\0: 5", "Content-Length: 5\0",
  "Content-Length: \"5\"", "Content-Length: 5 5", "Content-Length:\x0b5", "Content-Length: \xb2", "Content-Lengt\xe8: 5", "Content-Length:\r\n 5",
  "Transfer-Encoding: chunked", "transfer-encoding: chunked", "Transfer-Encoding: Chunked", "Transfer-Encoding: CHUNKED",
  "Transfer-Encoding : chunked", "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: identity, chunked",
  "Transfer-Encoding: identity", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked, chunked", "Transfer-Encoding: chunked;q=1",
  "Transfer-Encoding:chunked", "Transfer-Encoding:  chunked", "Transfer-Encoding:\tchunked", "Transfer-Encoding: chunked ",
  "Transfer-Encoding: chunked\t", "Transfer-Encoding: \x0bchunked", "Transfer-Encoding: chunked\0", "Transfer-Encoding: \"chunked\"",
  "Transfer-Encoding: 'chunked'", "Transfer-Encoding: chunk", "Transfer-Encoding: ,chunked", "Transfer-Encoding: chunked,",
  "Transfer-Encoding:\r\n chunked", "Transfer_Encoding: chunked", "X: y\nTransfer-Encoding: chunked", "X: y\rTransfer-Encoding: chunked",
  "Transfer-Encoding:", "Transfer-Encoding\t: chunked", "Transfer-Encoding: chunke\xe4", "\x0bTransfer-Encoding: chunked",
  "Transfer-Encoding\xa0: chunked", "TRANSFER-ENCODING: chunked",
];
export const OTHER_FIELDS: readonly string[] = [
  "Host: app.test", "Host: other.test", "Host:", "Host: a, b", "Host: user@app.test", "Host: app.test/x", "Host: app.test:99999", "host: app.test",
  "Host : app.test", "X-Host: a", "Connection: content-length", "Connection: transfer-encoding", "Connection: host", "Connection: close, keep-alive",
  "Connection: keep-alive, close", "Connection: clos\xe9", "Connection: close;x", "Connection: close\tx", "Connection: keepalive",
  "Connection: upgrade, close", "Connection: ,,close,", "Connection: x-real-ip, via, te", "Proxy-Connection: close", "Proxy-Connection: keep-alive",
  "Upgrade: h2c", "Upgrade: websocket", "Expect: 100-continue", "Expect:100-continue, x", "TE: trailers", "Via: 1.1 edgeproxy-here", "Via: 1.1 a, 1.1 b, 1.1 c",
  "X-Forwarded-Host: evil", "X_Forwarded_For: evil", "X-Request-Id: evil", ": empty", "No-Colon", "(bad): x", "Trailer: Content-Length", "a\xe4: b",
];
export const CHUNK_SIZES: readonly string[] = [
  "0x5", "+5", "-5", " 5", "5 ", "5\t", "\t5", "5;", "5;a", "5 ;a", "5; a=b", "5;a=\"\r\n\"", "5;a=\n", "5;\r", "FFFFFFFFFFFFFFFF", "100000005",
  "10000000000000005", "0000000000000005", "00000000000000000005", "5\n", "5_0", "", ";", "g", "0", "00", "5,5", "5.0", "5\0", "5\x0b", "fffffffffff",
  "5;\xff=\x80", "5\xa0", "\xb25",
];
export const VERSIONS: readonly string[] = ["HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "http/1.1", "HTTP/1.10", "HTTP/01.1", "HTTP/1,1", "HTTP/1.1 ", "", "HTTP /1.1",
  "HTTP/1.", "HTTP/1", "HTTP/11", "HTTP/+1.1", "RTSP/1.0", "ICE/1.0", "HTTP/1.1\t", "HTTPS/1.1", "HTTP/1.\xb9"];
export const BLIND_BYTES: readonly string[] = ["\0", "\t", "\n", "\r", " ", "\"", "#", ",", "-", "/", "0", ":", ";", "=", "A", "_", "a", "\x7f", "\x80", "\xa0", "\xff"];
export const TARGETS: readonly string[] = [
  "http://user@app.test/", "http://user:password@app.test/", "http://app.test#x", "//app.test/", "app.test:443", "http:///x", "http://", "http:/x", "*", "**",
  "http://app.test:99999/", "http://app.test:80:80/", "ftp://app.test/", "http://[::1]/", "http://[::1/", "http://app.test@evil.test/", "http://app.test\\@x/",
  "http://a,b/", "http://app.test?@", "/ HTTP/1.1", "http://app.test:/", "http://APP.test./", "hTTp://app.test/", "https://app.test", "http:app.test/", "?",
];
export const TARGET_PIECES: readonly string[] = ["#", "#a", "\t", "\x7f", "\\", "@", "://", "\0", "\r", "\n", "\xa0", "\xff", "%", "%0d%0a", "\x0b", "a".repeat(8200)];
