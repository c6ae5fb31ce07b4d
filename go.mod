module github.com/terminal-go/terminal

go 1.25
