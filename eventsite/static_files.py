"""Static files under ASGI."""

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware


class StaticFiles(WhiteNoiseMiddleware):
    """WhiteNoise, with whole files instead of synchronous streams of them.

    Django reads such a stream to its end before it sends anything under ASGI, and warns that it does. The
    project's files are small; without a Content-Encoding or Range of its own an answer is the same.

    A middleware that is synchronous alone would hold a thread for as long as an asynchronous view takes.
    """

    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(get_response, *args, **kwargs)
        self.in_async_chain = iscoroutinefunction(get_response)
        if self.in_async_chain:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """The file at this address, or what the next in the chain answers."""
        return self.__acall__(request) if self.in_async_chain else super().__call__(request)

    async def __acall__(self, request: HttpRequest) -> Any:
        """The same, awaited."""
        if self.autorefresh:
            static_file = await sync_to_async(self.find_file)(request.path_info)
        else:
            static_file = self.files.get(request.path_info)
        if static_file is not None:
            return await sync_to_async(self.serve)(static_file, request)
        return await self.get_response(request)

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:
        """The file, or what stands for it (304, 206, HEAD)."""
        found = static_file.get_response(request.method, request.META)
        content = b""
        if found.file is not None:
            with found.file as file:
                content = file.read()
        response = HttpResponse(content, status=int(found.status))
        del response["content-type"]
        for name, value in found.headers:
            response[name] = value
        return response
