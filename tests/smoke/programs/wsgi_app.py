"""A WSGI application that serves the files of $WEB_ROOT."""
import os


def app(environ, start_response):
    path = os.path.join(os.environ["WEB_ROOT"], os.path.basename(environ["PATH_INFO"]))
    try:
        with open(path, "rb") as f:
            body = f.read()
    except OSError:
        start_response("404 Not Found", [("Content-Length", "0")])
        return [b""]
    start_response("200 OK", [("Content-Type", "application/octet-stream"),
                              ("Content-Length", str(len(body)))])
    return [body]
