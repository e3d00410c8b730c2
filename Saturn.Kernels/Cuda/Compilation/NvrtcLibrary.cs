using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>The functions of a loaded NVRTC library. It is thread-safe: programs are independent of each other.</summary>
internal sealed unsafe class NvrtcLibrary
{
    private readonly delegate* unmanaged<int, byte*> getErrorString;
    private readonly delegate* unmanaged<nint*, byte*, byte*, int, byte**, byte**, int> createProgram;
    private readonly delegate* unmanaged<nint*, int> destroyProgram;
    private readonly delegate* unmanaged<nint, int, byte**, int> compileProgram;
    private readonly delegate* unmanaged<nint, nuint*, int> getLogSize;
    private readonly delegate* unmanaged<nint, byte*, int> getLog;
    private readonly delegate* unmanaged<nint, nuint*, int> getPtxSize;
    private readonly delegate* unmanaged<nint, byte*, int> getPtx;
    private readonly delegate* unmanaged<nint, nuint*, int> getCubinSize;
    private readonly delegate* unmanaged<nint, byte*, int> getCubin;

    /// <summary>Binds a loaded library.</summary>
    /// <exception cref="EntryPointNotFoundException">It lacks a function, so it is older than 11.2 or something else.</exception>
    public NvrtcLibrary(nint handle, string path)
    {
        Path = path;
        getErrorString = (delegate* unmanaged<int, byte*>)NativeLibrary.GetExport(handle, "nvrtcGetErrorString");
        createProgram = (delegate* unmanaged<nint*, byte*, byte*, int, byte**, byte**, int>)NativeLibrary.GetExport(handle, "nvrtcCreateProgram");
        destroyProgram = (delegate* unmanaged<nint*, int>)NativeLibrary.GetExport(handle, "nvrtcDestroyProgram");
        compileProgram = (delegate* unmanaged<nint, int, byte**, int>)NativeLibrary.GetExport(handle, "nvrtcCompileProgram");
        getLogSize = (delegate* unmanaged<nint, nuint*, int>)NativeLibrary.GetExport(handle, "nvrtcGetProgramLogSize");
        getLog = (delegate* unmanaged<nint, byte*, int>)NativeLibrary.GetExport(handle, "nvrtcGetProgramLog");
        getPtxSize = (delegate* unmanaged<nint, nuint*, int>)NativeLibrary.GetExport(handle, "nvrtcGetPTXSize");
        getPtx = (delegate* unmanaged<nint, byte*, int>)NativeLibrary.GetExport(handle, "nvrtcGetPTX");
        getCubinSize = (delegate* unmanaged<nint, nuint*, int>)NativeLibrary.GetExport(handle, "nvrtcGetCUBINSize");
        getCubin = (delegate* unmanaged<nint, byte*, int>)NativeLibrary.GetExport(handle, "nvrtcGetCUBIN");

        var version = (delegate* unmanaged<int*, int*, int>)NativeLibrary.GetExport(handle, "nvrtcVersion");
        int major, minor;
        Check(version(&major, &minor), "nvrtcVersion");
        Version = new Version(major, minor);
        Identity = $"NVRTC {Version}, {LengthOf(path)} bytes";

        var countArchitectures = (delegate* unmanaged<int*, int>)NativeLibrary.GetExport(handle, "nvrtcGetNumSupportedArchs");
        var getArchitectures = (delegate* unmanaged<int*, int>)NativeLibrary.GetExport(handle, "nvrtcGetSupportedArchs");
        int count;
        Check(countArchitectures(&count), "nvrtcGetNumSupportedArchs");
        int[] capabilities = new int[count];
        fixed (int* first = capabilities)
        {
            Check(getArchitectures(first), "nvrtcGetSupportedArchs");
        }

        Capabilities = [.. capabilities.Order()];
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>Major and minor version, such as 12.4.</summary>
    public Version Version { get; }

    /// <summary>Version and size of the file, which tells updates of one version apart.</summary>
    public string Identity { get; }

    /// <summary>The compute capabilities that it compiles for, ascending, 80 for 8.0.</summary>
    public IReadOnlyList<int> Capabilities { get; }

    /// <summary>Compiles a program. The image is null where it failed; the log then says why.</summary>
    public (byte[]? Image, string Log, string Error) Compile(string name, string text, IReadOnlyDictionary<string, string> headers, IReadOnlyList<string> options, bool ptx)
    {
        using NativeStrings headerTexts = new(headers.Values);
        using NativeStrings headerNames = new(headers.Keys);
        using NativeStrings optionTexts = new(options);
        using NativeStrings program = new([text, name]);
        nint handle;
        Check(createProgram(&handle, program[0], program[1], headers.Count, headerTexts.Pointer, headerNames.Pointer), "nvrtcCreateProgram");
        try
        {
            int result = compileProgram(handle, options.Count, optionTexts.Pointer);
            nuint logSize;
            Check(getLogSize(handle, &logSize), "nvrtcGetProgramLogSize");
            byte[] log = new byte[logSize];
            fixed (byte* first = log)
            {
                Check(getLog(handle, first), "nvrtcGetProgramLog");
            }

            string logText = Encoding.UTF8.GetString(log).TrimEnd('\0');
            if (result != 0)
            {
                return (null, logText, ErrorText(result));
            }

            nuint size;
            Check(ptx ? getPtxSize(handle, &size) : getCubinSize(handle, &size), ptx ? "nvrtcGetPTXSize" : "nvrtcGetCUBINSize");
            byte[] image = new byte[size];
            fixed (byte* first = image)
            {
                Check(ptx ? getPtx(handle, first) : getCubin(handle, first), ptx ? "nvrtcGetPTX" : "nvrtcGetCUBIN");
            }

            return (image, logText, "");
        }
        finally
        {
            destroyProgram(&handle);
        }
    }

    private static long LengthOf(string path)
    {
        if (!File.Exists(path))
        {
            return 0;
        }

        using SafeFileHandle file = File.OpenHandle(path);
        return RandomAccess.GetLength(file);
    }

    private string ErrorText(int result) => Marshal.PtrToStringUTF8((nint)getErrorString(result)) ?? $"code {result}";

    private void Check(int result, string call)
    {
        if (result != 0)
        {
            throw new InvalidOperationException($"{call} of {Path} failed: {ErrorText(result)} (code {result}).");
        }
    }

    /// <summary>Zero-terminated UTF-8 strings outside the managed heap.</summary>
    private sealed class NativeStrings : IDisposable
    {
        private readonly nint[] strings;
        private readonly byte** table;

        public NativeStrings(IEnumerable<string> texts)
        {
            strings = [.. texts.Select(Marshal.StringToCoTaskMemUTF8)];
            table = (byte**)NativeMemory.Alloc((nuint)Math.Max(1, strings.Length), (nuint)sizeof(byte*));
            for (int i = 0; i < strings.Length; i++)
            {
                table[i] = (byte*)strings[i];
            }
        }

        public byte** Pointer => table;

        public byte* this[int index] => table[index];

        public void Dispose()
        {
            foreach (nint text in strings)
            {
                Marshal.FreeCoTaskMem(text);
            }

            NativeMemory.Free(table);
        }
    }
}
