// Package deploy_test holds what is deployed to what the server is.
package deploy_test

import (
	"context"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/tandem-ws/tandem/server/config"
)

// load reads docker-compose.yml as docker compose does: interpolated, checked
// against the schema, and consistent in itself.
func load(t *testing.T, environ ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{"../docker-compose.yml"}, cli.WithEnv(environ))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func TestCompose(t *testing.T) {
	project := load(t)
	server, err := project.GetService("server")
	if err != nil {
		t.Fatal(err)
	}
	redis, err := project.GetService("redis")
	if err != nil {
		t.Fatal(err)
	}
	if *server.Environment["REDIS_URL"] != "redis://redis:6379" {
		t.Errorf("the server's Redis is %q", *server.Environment["REDIS_URL"])
	}
	if server.DependsOn["redis"].Condition != types.ServiceConditionHealthy || redis.HealthCheck == nil {
		t.Error("the server does not wait for a healthy Redis")
	}
	if server.Image == "" || !strings.HasPrefix(redis.Image, "redis:") {
		t.Errorf("images %q and %q", server.Image, redis.Image)
	}
	for _, port := range server.Ports {
		if port.HostIP != "127.0.0.1" {
			t.Errorf("port %s is published on %q, want loopback", port.Published, port.HostIP)
		}
	}
	if len(server.Ports) != 2 || len(redis.Ports) != 0 {
		t.Errorf("ports: server %v, redis %v", server.Ports, redis.Ports)
	}
	if limit := server.Ulimits["nofile"]; limit.Soft != 65536 || limit.Hard != 65536 {
		t.Errorf("nofile is %+v", limit)
	}
	// The defaults of DRAIN_TIME and of the wait for close frames after it.
	if grace := time.Duration(*server.StopGracePeriod); grace < 20*time.Second {
		t.Errorf("docker kills after %v, before the server has drained", grace)
	}
	dockerfile := filepath.Join(server.Build.Context, server.Build.Dockerfile)
	if _, err := os.Stat(dockerfile); err != nil {
		t.Error(err)
	}
}

func TestComposeVariables(t *testing.T) {
	project := load(t, "MODE=idiomatic", "NOFILE=1048576", "PORT=80", "INTERNAL_PORT=81", "API_KEY=k")
	server, err := project.GetService("server")
	if err != nil {
		t.Fatal(err)
	}
	if *server.Environment["MODE"] != "idiomatic" || *server.Environment["API_KEY"] != "k" {
		t.Errorf("MODE and API_KEY do not reach the server: %v", server.Environment)
	}
	if limit := server.Ulimits["nofile"]; limit.Soft != 1048576 || limit.Hard != 1048576 {
		t.Errorf("nofile is %+v", limit)
	}
	if server.Ports[0].Published != "80" || server.Ports[1].Published != "81" {
		t.Errorf("published: %v", server.Ports)
	}
}

// TestComposeEnvironment shows that every variable of the server gets into its
// container, and no other.
func TestComposeEnvironment(t *testing.T) {
	var environ []string
	names := make(map[string]bool)
	for _, v := range config.Variables() {
		names[v.Name] = true
		environ = append(environ, v.Name+"=value of "+v.Name)
	}
	project, err := load(t, environ...).WithProfiles([]string{"compare"})
	if err != nil {
		t.Fatal(err)
	}
	for service, mode := range map[string]string{"server": "value of MODE", "idiomatic": "idiomatic", "optimized": "optimized"} {
		s, err := project.GetService(service)
		if err != nil {
			t.Fatal(err)
		}
		for name := range names {
			want := "value of " + name
			if name == "MODE" {
				want = mode
			}
			if value := s.Environment[name]; value == nil || *value != want {
				t.Errorf("docker-compose.yml does not hand %s to %s", name, service)
			}
		}
		for name := range s.Environment {
			if !names[name] {
				t.Errorf("docker-compose.yml sets %s, which the server does not know", name)
			}
		}
	}
	// What it sets without any variable is a configuration.
	server, err := load(t).GetService("server")
	if err != nil {
		t.Fatal(err)
	}
	environ = nil
	for name, value := range server.Environment {
		environ = append(environ, name+"="+*value)
	}
	c, err := config.Load(environ, "linux")
	if err != nil || c.Addr != ":8080" || c.InternalAddr != ":9000" {
		t.Errorf("listens on %q and %q, %v", c.Addr, c.InternalAddr, err)
	}
}

// TestDockerfileBuild runs the image's build command where the sources are, and
// checks that what it builds needs nothing else to run.
func TestDockerfileBuild(t *testing.T) {
	dockerfile, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^RUN (.*deploy/release/build.sh .*)$`).FindSubmatch(dockerfile)
	if found == nil {
		t.Fatal("the Dockerfile has no build command")
	}
	binary := filepath.Join(t.TempDir(), "tandem")
	command := strings.ReplaceAll(string(found[1]), "/out/tandem", binary)
	build := exec.Command("sh", "-c", command)
	build.Dir = ".."
	build.Env = append(os.Environ(), "VERSION=9.8.7", "COMMIT=c0ffee")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	if runtime.GOOS == "linux" {
		program, err := elf.Open(binary)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = program.Close() }()
		for _, part := range program.Progs {
			if part.Type == elf.PT_INTERP {
				t.Error("the program is linked dynamically, and the image has no loader")
			}
		}
	}
	// No environment at all, as in an image from scratch.
	run := exec.Command(binary, "version")
	run.Env = []string{"NONE="}
	out, err := run.Output()
	if err != nil || !strings.HasPrefix(string(out), "tandem 9.8.7 c0ffee ") {
		t.Errorf("version prints %q, %v", out, err)
	}
}

// TestDockerignore shows that every package that the server is made of gets
// into the image's build.
func TestDockerignore(t *testing.T) {
	ignore, err := os.ReadFile("Dockerfile.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(ignore), "\n")
	list := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".")
	list.Dir = ".."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	const module = "github.com/tandem-ws/tandem"
	for _, path := range strings.Fields(string(out)) {
		own, ok := strings.CutPrefix(path, module)
		if !ok {
			continue
		}
		top, _, _ := strings.Cut(strings.TrimPrefix(own, "/"), "/")
		if own == "" {
			top = "main.go"
		}
		if !slices.Contains(lines, "!"+top) {
			t.Errorf("Dockerfile.dockerignore leaves out %s", own)
		}
	}
}
