"""The front page: asks reviews, which asks ratings, and shows who it was that called each."""

from aiohttp import web

from examples.bookstore.apps.service import application, arguments, ask, own_part, serve


async def page(request: web.Request) -> web.Response:
    reviews = await ask(request, "reviews", "/reviews")
    return web.json_response(own_part(request, "web") | {"reviews": reviews})


if __name__ == "__main__":
    args = arguments("the bookstore's front page")
    serve(application(page, "/page", args.version, args.proxy), args.listen)
