from .checks import rule as rule
from .errors import MiddlewatchError as MiddlewatchError
from .findings import Finding as Finding
from .frames import check as check
from .frames import profile as profile
from .frames import split as split
from .library import Handle as Handle
from .library import import_ as import_
from .library import open as open
from .profiles import Profile as Profile
from .recording import Middleware as Middleware
from .recording import WSGIMiddleware as WSGIMiddleware
from .recording import log as log
from .recording import watch as watch
from .schema import Schema as Schema

__version__: str
__all__: list[str]
