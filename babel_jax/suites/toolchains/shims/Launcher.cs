// Runs a compiled C# program and then writes the sentinel: mono Launcher.exe PROGRAM.exe SENTINEL MEANT ALIASES
//
// MEANT: names in the tests, of which those of the library's types must mean these. The compiler prefers a type, field or
// property of the program's (a nested class CompareLogic, a class var), so a program that has one is not run. A name with
// a ` behind it is a generic type's, which no other hides: List<int> beside a class List. ALIASES: names that
// `using NAME = ` gives away in the program.
//
// mono lets a program go on after a failed Debug.Assert and tells it to the file that MONO_TRACE_LISTENER names; this is
// read at the end. A listener of our own would take effect at once, but System.Diagnostics needs 100 ms to make it. If the
// tests assert so, what tells it must still be there: a program could take the listener or the file away.
using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text;

static class Launcher
{
    const BindingFlags All = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Static | BindingFlags.Instance
        | BindingFlags.DeclaredOnly;
    const string Begun = "assertions that failed:\n"; // what the file of them begins with
    const string Told = "this was told"; // and what it ends with, where a last message still comes to it
    static readonly string[] Words = { "System", "KellermanSoftware", "var", "dynamic" };
    static readonly string[] Namespaces =
    {
        "System", "System.Collections", "System.Collections.Generic", "System.Diagnostics", "System.Globalization",
        "System.IO", "System.Linq", "System.Numerics", "System.Text", "System.Text.RegularExpressions", "System.Threading",
        "System.Threading.Tasks", "KellermanSoftware.CompareNetObjects",
    };
    static readonly string[] Libraries = { "mscorlib", "System", "System.Core", "System.Numerics", "CompareNetObjects" };

    static int Main(string[] arguments)
    {
        byte[] sentinel = Encoding.ASCII.GetBytes("\n" + arguments[1] + "\n");
        string path = Environment.GetEnvironmentVariable("MONO_TRACE_LISTENER");
        string forged = Forged(Assembly.LoadFrom(arguments[0]), arguments[2].Split(','), arguments[3].Split(','));
        if (forged != null)
        {
            Console.Error.WriteLine("error: the program defines " + forged + ", which in its tests is the library's");
            return 1;
        }
        bool asserts = Array.IndexOf(arguments[2].Split(','), "Debug") >= 0;
        if (asserts)
        {
            File.WriteAllText(path, Begun);
            RuntimeHelpers.RunClassConstructor(typeof(DefaultTraceListener).TypeHandle); // it reads the environment
        }
        int status = AppDomain.CurrentDomain.ExecuteAssembly(arguments[0], new string[0]);
        if (File.Exists(path))
        {
            string trace = File.ReadAllText(path);
            Console.Error.Write(trace.StartsWith(Begun, StringComparison.Ordinal) ? trace.Substring(Begun.Length) : trace);
            if (trace.Contains("Fail:") && trace.Contains(".DefaultTraceListener.Fail "))
                return 1;
        }
        if (asserts && !Listening(path))
        {
            Console.Error.WriteLine("failed assertions were not told any more");
            return status;
        }
        using (var stream = Console.OpenStandardError())
            stream.Write(sentinel, 0, sentinel.Length);
        return status != 0 ? status : Environment.ExitCode;
    }

    /// <summary>Whether a failed assertion would still be found. Where none was and nothing has touched the listeners, mono
    /// has not made them yet, which it is not asked to: that takes 100 ms.</summary>
    static bool Listening(string path)
    {
        FieldInfo made = typeof(Debug).Assembly.GetType("System.Diagnostics.TraceInternal", true)
            .GetField("listeners", BindingFlags.NonPublic | BindingFlags.Static);
        if (made.GetValue(null) == null)
            return true;
        foreach (TraceListener listener in Debug.Listeners)
            if (listener.GetType() == typeof(DefaultTraceListener))
                listener.WriteLine(Told);
        string trace = File.Exists(path) ? File.ReadAllText(path) : "";
        return trace.StartsWith(Begun, StringComparison.Ordinal) && trace.TrimEnd().EndsWith(Told, StringComparison.Ordinal);
    }

    /// <summary>A name that must mean the library's and does not, or null.</summary>
    static string Forged(Assembly program, string[] meant, string[] aliases)
    {
        var names = new HashSet<string>(aliases);
        foreach (Type type in program.GetTypes())
            names.Add(Simple(type.Name));
        for (Type outer = program.EntryPoint.DeclaringType; outer != null; outer = outer.DeclaringType)
            for (Type type = outer; type != null && type.Assembly == program; type = type.BaseType)
                foreach (MemberInfo member in type.GetMembers(All))
                    if (member is FieldInfo || member is PropertyInfo)
                        names.Add(member.Name);
        names.IntersectWith(meant);
        return names.FirstOrDefault(name => Array.IndexOf(Words, name) >= 0 || IsTheLibrarys(name));
    }

    /// <summary>A type's name without the number of its parameters.</summary>
    static string Simple(string name)
    {
        int mark = name.IndexOf('`');
        return mark < 0 ? name : name.Substring(0, mark + 1);
    }

    static bool IsTheLibrarys(string name)
    {
        foreach (string library in Libraries)
        {
            Assembly assembly;
            try { assembly = Assembly.Load(library); }
            catch (IOException) { continue; } // CompareNetObjects, where the tests do not need it
            foreach (string space in Namespaces)
                foreach (string parameters in name.EndsWith("`") ? new[] { "1", "2", "3" } : new[] { "" })
                    if (assembly.GetType(space + "." + name + parameters) != null)
                        return true;
        }
        return false;
    }
}
