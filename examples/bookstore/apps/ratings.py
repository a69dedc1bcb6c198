"""Stars for the book. Calls nobody."""

from aiohttp import web

from examples.bookstore.apps.service import application, arguments, own_part, serve


async def ratings(request: web.Request) -> web.Response:
    return web.json_response(own_part(request, "ratings") | {"stars": 5})


if __name__ == "__main__":
    args = arguments("the bookstore's ratings")
    serve(application(ratings, "/ratings", args.version, args.proxy), args.listen)
