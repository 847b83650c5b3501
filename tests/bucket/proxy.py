"""A server before moto that refuses or ignores the conditions of a PUT, as some stores do."""

import http.client
import http.server
import threading

CONDITIONS = {"if-match", "if-none-match"}
NOT_IMPLEMENTED = b"<Error><Code>NotImplemented</Code><Message>A header you provided implies functionality that is not implemented</Message></Error>"


class Proxy:
    """`mode` is `refuses` or `ignores`."""

    def __init__(self, port, mode):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                has_condition = self.command == "PUT" and any(name.lower() in CONDITIONS for name in self.headers)
                if has_condition and mode == "refuses":
                    return self.answer(501, {}, NOT_IMPLEMENTED)
                headers = {name: value for name, value in self.headers.items() if not (has_condition and name.lower() in CONDITIONS)}
                upstream = http.client.HTTPConnection("127.0.0.1", port)
                upstream.request(self.command, self.path, body, headers)
                response = upstream.getresponse()
                self.answer(response.status, dict(response.getheaders()), response.read())

            def answer(self, status, headers, body):
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in {"content-length", "connection", "transfer-encoding", "date", "server"}:
                        self.send_header(name, value)
                length = headers.get("content-length", headers.get("Content-Length")) if self.command == "HEAD" else len(body)
                self.send_header("content-length", str(length))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
