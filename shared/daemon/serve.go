package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// shutdownGrace is how long requests under way may take once the program ends.
const shutdownGrace = 2 * time.Second

// Serve answers HTTP on ln until ctx ends, then lets requests under way finish for 2 s and cuts the rest. It
// closes ln. A request's context outlives ctx by that grace.
//
// Reading a request may take 10 s and answering it 30 s. A stream that lasts longer moves its own deadline with
// http.ResponseController, and should end when the program's context does, or the end waits for the grace.
// Each of set may change the server before it begins.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, name string, set ...func(*http.Server)) error {
	base, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	logger := slog.Default().With("server", name)
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       90 * time.Second,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	for _, change := range set {
		change(server)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }()
	select {
	case err := <-ended:
		server.Close()
		return fmt.Errorf("serve %s: %w", name, err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(base, shutdownGrace)
	defer cancel()
	err := server.Shutdown(grace)
	if err != nil {
		cut()
		server.Close()
	}
	<-ended
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stop serving %s: %w", name, err)
	}
	return nil
}
