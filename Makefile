# Everything here needs Go alone, unless it says otherwise.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@latest
NFPM        = github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
CYCLONEDX   = github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
TAGS        = lab controls apcupsd torture abuse e2e tsnet stages packages
BENCH       = go test -run '^$$' -timeout 10m
ARCHES      = amd64 arm64 arm
MODULE      = sentinel.home.arpa
# What decides, one thing after the other: a wall keeps goroutines out of these.
PURE        = shared/power shared/shutdown cloud/internal/cause shared/escalation cloud/internal/sentinel pi-proxy/internal/guardian pi-proxy/internal/brainwatch
# The curve's arithmetic, in numbers that nobody else sees, took half of the race detector's time.
QUIET       = -gcflags='crypto/internal/fips140/edwards25519/...=-race=false'
SHRUNK      = -trimpath -ldflags "-s -w"

.PHONY: check test race scenarios pauses controls controls-short stages stages-short test-apcupsd torture torture-short abuse e2e e2e-shutdowns e2e-story e2e-ansible e2e-ansible-pis ansible-lint cross packages packages-guests release release-test footprint fuzz vulnerabilities bench bench-smoke mutants rules

## check: form, vet, staticcheck and the walls between the rooms
check:
	@test -z "$$(gofmt -l .)" || { echo "not gofmt'ed:"; gofmt -l .; exit 1; }
	go vet ./...
	go vet -tags "$(TAGS)" ./...
	go run $(STATICCHECK) ./...
	go run $(STATICCHECK) -tags "$(TAGS)" ./deploy/... ./pi-proxy/... ./node-hook/...
	go test -count=1 ./shared

## test: what the README promises
test:
	go test ./...

## race: all that may do two things at once, but the longest stories, under the race detector
race:
	CGO_ENABLED=1 go test -race $(QUIET) -short -timeout 40m $$(go list ./... | grep -vxF "$$(printf '$(MODULE)/%s\n' $(PURE))")

## scenarios: the real programs play the lab's stories, judged by the edges
scenarios:
	go test -tags lab -count=1 -v -timeout 20m -parallel 4 -run "Scenario|NothingOutlives" ./deploy/lab

## pauses: the real programs are stopped for a minute each, judged by the edges
pauses:
	go test -tags lab -count=1 -v -timeout 15m -parallel 3 -run Pauses ./deploy/lab

## controls: each story with one thing broken on purpose, which it must notice
controls:
	go test -tags controls -count=1 -v -timeout 20m -parallel 5 -run Control ./deploy/lab

## stages: power back, kills, a revoked token and a dead internet at every stage of a plan, and the long stories, with tables (some 10 min)
stages:
	go test -tags stages -count=1 -v -timeout 30m -parallel 4 -run Stages ./deploy/lab

## stages-short: the power comes back while the guests go down
stages-short:
	go test -tags stages -count=1 -v -timeout 10m -run "Stages/power_back/guests" ./deploy/lab

## controls-short: the same for the stories that scenarios plays
controls-short:
	go test -tags controls -short -count=1 -v -timeout 20m -parallel 5 -run Control ./deploy/lab

## test-apcupsd: against the real apcupsd (Debian: apt-get install apcupsd) on a simulated UPS
test-apcupsd:
	go test -tags apcupsd -count=1 -v -timeout 10m -run Apcupsd ./pi-proxy/...

## torture: 200 kills at named phases and at random, judged by the edges (needs strace); SEED=n plays it again
torture:
	go run ./deploy/lab/torture -kills 200 -homes 4 -minutes 20 $(if $(SEED),-seed $(SEED))

## torture-short: some 30 kills, with a seed of their own each time, and one at each step of a call; TORTURE_SEED=n plays it again
torture-short:
	go test -tags torture -count=1 -v -timeout 15m -run Torture ./deploy/lab

## abuse: bad input to every endpoint and file of the three programs
abuse:
	go test -tags abuse -count=1 -v -timeout 15m ./deploy/lab/internal/abuse

## e2e: booted Debian guests (needs root, debootstrap, systemd-container, tcpdump, iproute2, zstd)
e2e:
	go test -tags e2e -count=1 -v -timeout 40m ./deploy/e2e

## e2e-shutdowns, e2e-story: one house of it each, which may be played side by side
e2e-shutdowns:
	go test -tags e2e -count=1 -v -timeout 40m -run Shutdowns ./deploy/e2e
e2e-story:
	go test -tags e2e -count=1 -v -timeout 40m -run Story ./deploy/e2e

## e2e-ansible, e2e-ansible-pis: a house that ansible/ installs, in which a bad day is played before it is upgraded and
## removed; one with two Pis (they need ansible and openssh-client besides)
e2e-ansible:
	go test -tags e2e -count=1 -v -timeout 40m -run 'Ansible$$' ./deploy/e2e
e2e-ansible-pis:
	go test -tags e2e -count=1 -v -timeout 30m -run AnsiblePis ./deploy/e2e

## ansible-lint: the playbooks' form, by its strictest profile (needs ansible-lint)
ansible-lint:
	cd ansible && ansible-lint --offline --profile production

## cross: everything builds for the Pi and the free cloud machines, without C
cross:
	for arch in $(ARCHES); do \
	  CGO_ENABLED=0 GOOS=linux GOARCH=$$arch GOARM=6 go build $(SHRUNK) -o bin/$$arch/ ./cloud ./pi-proxy ./node-hook && \
	  CGO_ENABLED=0 GOOS=linux GOARCH=$$arch GOARM=6 go build $(SHRUNK) -tags tsnet -o bin/$$arch/node-hook-tsnet ./node-hook || exit 1; done
	@ls -l bin/*/*

## packages: Debian packages for amd64, arm64 and armhf into dist/; VERSION=1.2.3 names them, DEBS=amd64 is for those alone, DIST=DIR puts them elsewhere
packages:
	go run ./deploy/debian -nfpm "go run $(NFPM)" $(if $(VERSION),-version $(VERSION)) $(if $(DEBS),-arch $(DEBS)) $(if $(DIST),-out $(DIST)) $(if $(ONLY),-only $(ONLY))

## release: the same with a list of what each program is made of (CycloneDX) and SHA256SUMS; equal commits give equal sums
release:
	go run ./deploy/debian -nfpm "go run $(NFPM)" -bom "go run $(CYCLONEDX) bin -json -std -noserial -notimestamp" \
	  $(if $(VERSION),-version $(VERSION)) $(if $(DEBS),-arch $(DEBS)) $(if $(DIST),-out $(DIST)) $(if $(ONLY),-only $(ONLY))

## packages-guests: the packages on booted Debian 12 and 13, from installation to purge (needs what e2e needs)
packages-guests:
	go test -tags packages -count=1 -v -timeout 20m ./deploy/e2e/packages

## release-test: two releases of the last commit are equal; lintian has no objection to the packages for all machines, and their programs are for these
release-test:
	go test -tags packages -count=1 -v -timeout 40m -run Release ./deploy/debian

## footprint: memory and processor time of the programs in a home of five nodes
footprint:
	go run ./deploy/lab/footprint -for 10m

## bench: speed and memory, each beside a baseline of the same run, in some four minutes
bench:
	@{ $(BENCH) -benchtime 30000x -bench Ingest ./cloud/internal/ingest; \
	   $(BENCH) -benchtime 1x -bench "Lateness|Memory" ./cloud/internal/liveness; \
	   $(BENCH) -benchtime 1s -bench "Beat|Expire" ./cloud/internal/liveness; \
	   $(BENCH) -benchtime 10000x -bench "Step|Replay" ./cloud/internal/sentinel; \
	   $(BENCH) -benchtime 5x -bench StartAfterAYear ./cloud/brain; } | go run ./deploy/bench

## mutants: how much of what is broken on purpose the pure packages' tests notice (an hour or more)
mutants:
	go run ./deploy/mutants $(PACKAGES)

## bench-smoke: each benchmark once, to see that it still runs
bench-smoke:
	$(BENCH) -short -benchtime 1x -bench . ./cloud/internal/ingest ./cloud/internal/liveness ./cloud/internal/sentinel ./cloud/brain

## rules: dashboard and alerts for Prometheus, by its promtool (Debian: apt-get install prometheus), or PROMTOOL=path
rules:
	PROMTOOL=$${PROMTOOL:-promtool} go test -count=1 -v ./deploy/grafana

## fuzz: each parser of outside bytes, a moment each
fuzz:
	@for p in $$(go list ./...); do \
	  for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	    echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $${FUZZTIME:-10s} $$p || exit 1; done; done

## vulnerabilities: known ones in what is built in (asks an online database)
vulnerabilities:
	go run $(GOVULNCHECK) ./...
