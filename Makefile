# Everything here needs Go alone, unless it says otherwise.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@latest
TAGS        = lab controls apcupsd
SHRUNK      = -trimpath -ldflags "-s -w"

.PHONY: check test race scenarios controls test-apcupsd cross fuzz vulnerabilities

## check: form, vet, staticcheck and the walls between the rooms
check:
	@test -z "$$(gofmt -l .)" || { echo "not gofmt'ed:"; gofmt -l .; exit 1; }
	go vet ./...
	go vet -tags "$(TAGS)" ./...
	go run $(STATICCHECK) ./...
	go run $(STATICCHECK) -tags "$(TAGS)" ./deploy/... ./pi-proxy/...
	go test -count=1 ./shared

## test: what the README promises
test:
	go test ./...

race:
	go test -race ./...

## scenarios: the real programs play the lab's stories, judged by the edges
scenarios:
	go test -tags lab -count=1 -v -timeout 20m ./deploy/lab

## controls: each story with one thing broken on purpose, which it must notice
controls:
	go test -tags controls -count=1 -v -timeout 20m -run Control ./deploy/lab

## test-apcupsd: against the real apcupsd (Debian: apt-get install apcupsd) on a simulated UPS
test-apcupsd:
	go test -tags apcupsd -count=1 -v -timeout 10m -run Apcupsd ./pi-proxy/...

## cross: everything builds for the Pi and the free cloud machines, without C
cross:
	for arch in amd64 arm64 arm; do \
	  CGO_ENABLED=0 GOOS=linux GOARCH=$$arch GOARM=6 go build $(SHRUNK) -o bin/$$arch/ ./cloud ./pi-proxy ./node-hook || exit 1; done
	@ls -l bin/*/*

## fuzz: each parser of outside bytes, a moment each
fuzz:
	@for p in $$(go list ./...); do \
	  for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	    echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $${FUZZTIME:-10s} $$p || exit 1; done; done

## vulnerabilities: known ones in what is built in (asks an online database)
vulnerabilities:
	go run $(GOVULNCHECK) ./...
