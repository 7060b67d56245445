// Command probe is what the tests of the embedded clusters run inside pods, in an image of nothing else:
//
//	probe wait              until SIGTERM, answering HTTP on :8080 with its host name
//	probe lookup NAME       the addresses of a name
//	probe get URL           an answer's body, within 3 s
//	probe write FILE TEXT   and read FILE
//	probe id                user and group
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	text, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(text)
}

func run(args []string) (string, error) {
	switch command := strings.Join(args[:min(1, len(args))], ""); {
	case command == "wait":
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		go func() {
			err := http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				name, _ := os.Hostname()
				fmt.Fprint(w, name)
			}))
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}()
		<-stop
		return "", nil
	case command == "lookup" && len(args) == 2:
		addresses, err := net.LookupHost(args[1])
		return strings.Join(addresses, " "), err
	case command == "get" && len(args) == 2:
		client := http.Client{Timeout: 3 * time.Second}
		answer, err := client.Get(args[1])
		if err != nil {
			return "", err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		return string(body), err
	case command == "write" && len(args) == 3:
		return "", os.WriteFile(args[1], []byte(args[2]), 0o640)
	case command == "read" && len(args) == 2:
		text, err := os.ReadFile(args[1])
		return string(text), err
	case command == "id":
		groups, err := os.Getgroups()
		return fmt.Sprint(os.Getuid(), " ", os.Getgid(), " ", groups), err
	}
	return "", fmt.Errorf("unknown arguments %q", args)
}
