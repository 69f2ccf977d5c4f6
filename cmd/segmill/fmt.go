package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/rulefiles"
	"github.com/segmill/segmill/internal/rulefmt"
)

type fmtFlags struct{ list, write, diff bool }

func fmtCommand() *cobra.Command {
	var f fmtFlags
	c := &cobra.Command{
		Use:   "fmt [-l] [-w | -d] RULES... | fmt -",
		Short: "Lay out rule files and their tests",
		Long: `fmt lays out rule files and their tests: two blanks for each level, lists indented
below their keys, at most one empty line, no blanks at ends of lines. Comments stay
where they are, and nothing that a rule means changes.

It prints the files, or with -w writes them. With -l it lists the files that are not
laid out, with -d it shows what would change; the exit code of both is 1 if there is
such a file.`,
		Args: arguments(cobra.MinimumNArgs(1), "segmill fmt -w rules"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.write && f.diff {
				return &exitError{exitUsage, errors.New("-w and -d cannot be used together")}
			}
			if len(args) == 1 && args[0] == "-" {
				return f.standard(cmd)
			}
			return f.files(cmd, args)
		},
	}
	c.Flags().BoolVarP(&f.list, "list", "l", false, "list files that are not laid out")
	c.Flags().BoolVarP(&f.write, "write", "w", false, "write the files")
	c.Flags().BoolVarP(&f.diff, "diff", "d", false, "show what would change")
	return c
}

// standard lays out standard input.
func (f *fmtFlags) standard(cmd *cobra.Command) error {
	if f.write {
		return &exitError{exitUsage, errors.New("-w has no file to write to")}
	}
	text, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), rule.MaxFileSize+1))
	if err != nil {
		return failed(err)
	}
	return f.all(cmd, []rule.File{{Name: stdin, Data: text}})
}

func (f *fmtFlags) files(cmd *cobra.Command, paths []string) error {
	files, err := rulefiles.All(paths)
	if err != nil {
		return badConfig(err)
	}
	return f.all(cmd, files)
}

// all lays out files. Nothing is written if one of them has errors.
func (f *fmtFlags) all(cmd *cobra.Command, files []rule.File) error {
	var wrong rule.Problems
	texts := make([][]byte, len(files))
	for i, file := range files {
		text, err := rulefmt.Format(file)
		var ps rule.Problems
		if errors.As(err, &ps) {
			wrong = append(wrong, ps...)
		} else if err != nil {
			return badConfig(err)
		}
		texts[i] = text
	}
	if len(wrong) > 0 {
		return badConfig(wrong)
	}
	differ := 0
	for i := range files {
		if !bytes.Equal(texts[i], files[i].Data) {
			differ++
		}
		if err := f.one(cmd.OutOrStdout(), &files[i], texts[i]); err != nil {
			return failed(err)
		}
	}
	if differ > 0 && !f.write && (f.list || f.diff) {
		return failed(nil)
	}
	return nil
}

// one does what the flags say about one file.
func (f *fmtFlags) one(w io.Writer, file *rule.File, text []byte) error {
	if !f.list && !f.write && !f.diff {
		_, err := w.Write(text)
		return err
	}
	if bytes.Equal(text, file.Data) {
		return nil
	}
	if f.list {
		fmt.Fprintln(w, file.Name)
	}
	if f.diff {
		if _, err := w.Write(diff.Diff(file.Name, file.Data, file.Name+" (laid out)", text)); err != nil {
			return err
		}
	}
	if !f.write {
		return nil
	}
	info, err := os.Stat(file.Name)
	if err != nil {
		return err
	}
	return os.WriteFile(file.Name, text, info.Mode().Perm())
}
