package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
)

// Task is one of the things a program does at the same time. Run returns when ctx ends; nil before that means
// that the task is done and nobody misses it.
type Task struct {
	Name string
	Run  func(ctx context.Context) error
}

// PanicError is a panic that ended a task. Its stack has been logged.
type PanicError struct{ Value any }

// Error names the value that was panicked with.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Run starts the tasks together and waits for all of them. The first that fails or panics cancels the others.
// The error joins what the tasks returned, each with its name; a task that merely reports the cancellation
// has not failed.
func Run(ctx context.Context, tasks ...Task) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for _, task := range tasks {
		wg.Go(func() {
			err := perform(ctx, task)
			if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
				return
			}
			mu.Lock()
			errs = append(errs, fmt.Errorf("%s: %w", task.Name, err))
			mu.Unlock()
			cancel()
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func perform(ctx context.Context, task Task) (err error) {
	defer func() {
		if p := recover(); p != nil {
			// Logged here and not by the caller: the other tasks may take long to end, or never do.
			slog.Error("task panicked", "task", task.Name, "panic", p, "stack", string(debug.Stack()))
			err = &PanicError{Value: p}
		}
	}()
	return task.Run(ctx)
}

// Main runs a program until it ends by itself or SIGINT or SIGTERM cancels its context; a second signal kills.
// SIGHUP calls hangup, one call after the other and one more for those that come during it; a watchman must not
// die of it. It returns the exit code: 0, or 1 after an error, which it logs line by line to the default logger.
func Main(name string, run func(ctx context.Context) error, hangup func()) int {
	OutliveLog()
	defer onHangup(hangup)()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	err := perform(ctx, Task{Name: name, Run: run})
	if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return 0
	}
	for line := range strings.Lines(err.Error()) {
		slog.Error("stopped by an error", "program", name, "err", strings.TrimSuffix(line, "\n"))
	}
	return 1
}

// OutliveLog has a write to a log that nobody reads any more fail, where Go would end the program by SIGPIPE: journald
// may crash, and at a forced shutdown it is gone before the last word is said.
func OutliveLog() { signal.Ignore(syscall.SIGPIPE) }

// Reread logs what a program found that takes its configuration at the start alone, and read it again: what of it
// differs by now, or what is wrong with it.
func Reread(changed []string, err error) {
	if err != nil {
		slog.Error("the configuration is wrong and was not taken", "err", Summary(err))
		return
	}
	for _, c := range changed {
		slog.Info("configuration changed", "change", c)
	}
	slog.Info("the configuration is right and takes effect with the next restart")
}

// Summary is an error of several lines as one: the first, and how many more there are.
func Summary(err error) string {
	text, more, _ := strings.Cut(err.Error(), "\n")
	if more == "" {
		return text
	}
	return fmt.Sprintf("%s (and %d more)", text, strings.Count(more, "\n")+1)
}

// onHangup calls f for each SIGHUP, which would kill the program otherwise, until stop returns.
func onHangup(f func()) (stop func()) {
	signals, ended := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		defer close(ended)
		for range signals {
			f()
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals) // Stop has returned, so nobody sends
		<-ended
	}
}
