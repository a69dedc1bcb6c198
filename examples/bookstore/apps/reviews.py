"""Reviews of the book. Version v2 differs in its text alone."""

from aiohttp import web

from examples.bookstore.apps.service import application, arguments, ask, own_part, serve

TEXTS = {"v1": "A book for a rainy day.", "v2": "A book for a rainy day, and for a sunny one."}


async def reviews(request: web.Request) -> web.Response:
    ratings = await ask(request, "ratings", "/ratings")
    part = own_part(request, "reviews")
    return web.json_response(part | {"text": TEXTS[part["version"]], "ratings": ratings})


if __name__ == "__main__":
    args = arguments("the bookstore's reviews")
    serve(application(reviews, "/reviews", args.version, args.proxy), args.listen)
