// Fails if a Go program gives a name of the language's own or of a package another meaning: shadows PROGRAM.go NAME...
//
// Such a declaration (`const false = true`) would hold for the tests as well, which stand in the same package. A program
// that cannot be parsed is left to the compiler.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
)

func main() {
	kept := map[string]bool{}
	for _, name := range os.Args[2:] {
		kept[name] = true
	}
	files := token.NewFileSet()
	program, err := parser.ParseFile(files, os.Args[1], nil, parser.SkipObjectResolution)
	if err != nil {
		return
	}
	check := func(name *ast.Ident) {
		if name != nil && kept[name.Name] {
			fmt.Printf("%v: error: %s is declared anew, and the tests use it\n", files.Position(name.Pos()), name.Name)
			os.Exit(1)
		}
	}
	for _, declaration := range program.Decls {
		switch declaration := declaration.(type) {
		case *ast.FuncDecl:
			if declaration.Recv == nil {
				check(declaration.Name)
			}
		case *ast.GenDecl:
			for _, spec := range declaration.Specs {
				switch spec := spec.(type) {
				case *ast.ImportSpec:
					if spec.Name != nil && !strings.HasSuffix(spec.Path.Value, spec.Name.Name+"\"") {
						check(spec.Name)
					}
				case *ast.TypeSpec:
					check(spec.Name)
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						check(name)
					}
				}
			}
		}
	}
}
