// Package abuse treats the real programs badly: whatever comes in at an endpoint or lies
// in a file, there is one clear error, and nothing changes but its counter (rules R1, R2,
// R5, A3, A7, U6). Its tests print a table of what was done and what came of it:
//
//	go test -tags abuse -count=1 -v ./deploy/lab/internal/abuse
//
// There is no code but the tests'. They must not import a program: they build and run it.
package abuse
