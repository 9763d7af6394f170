// Runs a compiled C# program and then writes the sentinel: mono Launcher.exe PROGRAM.exe SENTINEL
//
// mono lets a program go on after a failed Debug.Assert and tells it to the file that MONO_TRACE_LISTENER names; this is
// read at the end. A listener of our own would take effect at once, but System.Diagnostics needs 100 ms to make it.
using System;
using System.IO;
using System.Text;

static class Launcher
{
    static int Main(string[] arguments)
    {
        byte[] sentinel = Encoding.ASCII.GetBytes("\n" + arguments[1] + "\n");
        int status = AppDomain.CurrentDomain.ExecuteAssembly(arguments[0], new string[0]);
        string told = Environment.GetEnvironmentVariable("MONO_TRACE_LISTENER");
        if (File.Exists(told))
        {
            string trace = File.ReadAllText(told);
            Console.Error.Write(trace);
            if (trace.Contains("Fail:") && trace.Contains(".DefaultTraceListener.Fail "))
                return 1;
        }
        using (var stream = Console.OpenStandardError())
            stream.Write(sentinel, 0, sentinel.Length);
        return status != 0 ? status : Environment.ExitCode;
    }
}
