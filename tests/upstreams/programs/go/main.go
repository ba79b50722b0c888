// Command driver serves the routes with one of Go's routers: driver SERVER PORT ROUTES.
package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gofiber/fiber/v2"
	"github.com/gorilla/mux"
	"github.com/labstack/echo/v4"
)

type route struct {
	Name   string `json:"name"`
	Path   string `json:"path"`
	Method string `json:"method"`
}

var names = regexp.MustCompile(`\{(\w+)\}`)

// rewrite writes a pattern in another syntax.
func rewrite(path, one, tail string) string {
	out := names.ReplaceAllString(path, one)
	if rest, found := strings.CutSuffix(out, "*"); found {
		return rest + tail
	}
	return out
}

func version(module string) string {
	if module == "" {
		return "net/http of " + strings.Replace(runtime.Version(), "go", "Go ", 1)
	}
	info, _ := debug.ReadBuildInfo()
	for _, dependency := range info.Deps {
		if dependency.Path == module {
			return module + " " + dependency.Version + ", " + strings.Replace(runtime.Version(), "go", "Go ", 1)
		}
	}
	return module
}

func answer(set func(name, value string), route route, pattern, version string, params url.Values) {
	set("X-Handler", route.Name)
	set("X-Pattern", url.QueryEscape(pattern))
	set("X-Version", version)
	set("X-Params", params.Encode())
}

func params(path string, get func(name string) string, rest string) url.Values {
	found := url.Values{}
	for _, match := range names.FindAllStringSubmatch(path, -1) {
		found.Set(match[1], get(match[1]))
	}
	if strings.HasSuffix(path, "*") {
		found.Set("rest", get(rest))
	}
	return found
}

func serveMux(routes []route) http.Handler {
	handler := http.NewServeMux()
	for _, route := range routes {
		pattern := rewrite(route.Path, "{$1}", "{rest...}")
		full := strings.TrimSpace(route.Method + " " + pattern)
		register(func() {
			handler.HandleFunc(full, func(w http.ResponseWriter, r *http.Request) {
				answer(w.Header().Set, route, full, version(""), params(route.Path, r.PathValue, "rest"))
			})
		})
	}
	return handler
}

func chiRouter(routes []route) http.Handler {
	handler := chi.NewRouter()
	for _, route := range routes {
		pattern := rewrite(route.Path, "{$1}", "*")
		run := func(w http.ResponseWriter, r *http.Request) {
			get := func(name string) string { return chi.URLParam(r, name) }
			answer(w.Header().Set, route, pattern, version("github.com/go-chi/chi/v5"), params(route.Path, get, "*"))
		}
		if route.Method == "" {
			handler.HandleFunc(pattern, run)
		} else {
			handler.MethodFunc(route.Method, pattern, run)
		}
	}
	return handler
}

func ginEngine(routes []route) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	handler := gin.New()
	for _, route := range routes {
		pattern := rewrite(route.Path, ":$1", "*rest")
		run := func(c *gin.Context) {
			answer(c.Header, route, pattern, version("github.com/gin-gonic/gin"), params(route.Path, c.Param, "rest"))
			c.Status(200)
		}
		register(func() {
			if route.Method == "" {
				handler.Any(pattern, run)
			} else {
				handler.Handle(route.Method, pattern, run)
			}
		})
	}
	return handler
}

// register leaves out what a router refuses: gin a catch-all beside a literal, ServeMux patterns
// of which neither is the more specific.
func register(add func()) {
	defer func() { _ = recover() }()
	add()
}

func echoServer(routes []route) http.Handler {
	handler := echo.New()
	for _, route := range routes {
		pattern := rewrite(route.Path, ":$1", "*")
		run := func(c echo.Context) error {
			answer(c.Response().Header().Set, route, pattern, version("github.com/labstack/echo/v4"), params(route.Path, c.Param, "*"))
			return c.NoContent(200)
		}
		if route.Method == "" {
			handler.Any(pattern, run)
		} else {
			handler.Add(route.Method, pattern, run)
		}
	}
	return handler
}

func gorilla(routes []route) http.Handler {
	handler := mux.NewRouter()
	for _, route := range routes {
		pattern := rewrite(route.Path, "{$1}", "{rest:.*}")
		added := handler.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			get := func(name string) string { return mux.Vars(r)[name] }
			answer(w.Header().Set, route, pattern, version("github.com/gorilla/mux"), params(route.Path, get, "rest"))
		})
		if route.Method != "" {
			added.Methods(route.Method)
		}
	}
	return handler
}

func fiberApp(routes []route) *fiber.App {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	for _, route := range routes {
		pattern := rewrite(route.Path, ":$1", "*")
		run := func(c *fiber.Ctx) error {
			get := func(name string) string { return c.Params(name) }
			answer(c.Set, route, pattern, version("github.com/gofiber/fiber/v2"), params(route.Path, get, "*"))
			return c.SendStatus(200)
		}
		if route.Method == "" {
			app.All(pattern, run)
		} else {
			app.Add(route.Method, pattern, run)
		}
	}
	return app
}

func main() {
	var routes []route
	if err := json.Unmarshal([]byte(os.Args[3]), &routes); err != nil {
		panic(err)
	}
	address := "127.0.0.1:" + os.Args[2]
	servers := map[string]func([]route) http.Handler{
		"servemux": serveMux, "chi": chiRouter, "gin": ginEngine, "echo": echoServer, "gorilla": gorilla,
	}
	if os.Args[1] == "fiber" {
		panic(fiberApp(routes).Listen(address))
	}
	panic(http.ListenAndServe(address, servers[os.Args[1]](routes)))
}
