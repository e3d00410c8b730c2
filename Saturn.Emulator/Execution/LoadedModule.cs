using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Saturn.Emulator.Ptx;

namespace Saturn.Emulator.Execution;

/// <summary>A module as the driver loads it: its kernels, decoded when first asked for, and the memory of its global and constant variables.</summary>
internal sealed unsafe class LoadedModule : IDisposable
{
    private const int MaximumParsed = 256;

    // Nothing changes a module once it was read.
    private static readonly ConcurrentDictionary<string, PtxModule> Parsed = new(StringComparer.Ordinal);

    private readonly Dictionary<string, EmulatedKernel> kernels = [];
    private readonly Dictionary<string, nint> addresses = [];
    private readonly List<(nint Address, long Length)> variables = [];

    private LoadedModule(PtxModule source)
    {
        Source = source;
        foreach (PtxVariable variable in source.Variables.Where(variable => variable.Space is PtxSpace.Global or PtxSpace.Constant && variable.Bytes > 0))
        {
            byte* memory = (byte*)NativeMemory.AlignedAlloc((nuint)variable.Bytes, 256);
            Span<byte> bytes = new(memory, variable.Bytes);
            bytes.Clear();
            variable.Initial?.CopyTo(bytes);
            addresses[variable.Name] = (nint)memory;
            variables.Add(((nint)memory, variable.Bytes));
        }
    }

    public PtxModule Source { get; }

    public string Name => Source.Name;

    /// <summary>Names of the kernels.</summary>
    public IEnumerable<string> KernelNames => Source.Kernels.Select(kernel => kernel.Name);

    /// <summary>Reads PTX; the name appears in messages. What was read before is kept, since devices come and go with the same modules.</summary>
    /// <exception cref="EmulatorException">The text is not PTX that the emulator reads.</exception>
    public static LoadedModule Load(ReadOnlySpan<byte> ptx, string name)
    {
        int end = ptx.IndexOf((byte)0);
        ReadOnlySpan<byte> text = end < 0 ? ptx : ptx[..end];
        string key = name + Convert.ToHexString(SHA256.HashData(text));
        if (!Parsed.TryGetValue(key, out PtxModule? module))
        {
            module = PtxParser.Parse(Encoding.UTF8.GetString(text), name);
            if (Parsed.Count >= MaximumParsed)
            {
                Parsed.Clear();
            }

            Parsed.TryAdd(key, module);
        }

        return new LoadedModule(module);
    }

    /// <summary>A kernel by its name.</summary>
    /// <exception cref="EmulatorException">There is none of that name, or it uses an instruction that is not covered.</exception>
    public EmulatedKernel GetKernel(string name)
    {
        lock (kernels)
        {
            if (!kernels.TryGetValue(name, out EmulatedKernel? kernel))
            {
                PtxKernel found = Source.Kernels.Find(candidate => candidate.Name == name)
                    ?? throw new EmulatorException($"{Name} has no kernel named '{name}'; it has: {string.Join(", ", KernelNames)}.", 500);
                kernel = new Decoder(this, found).Decode();
                kernels.Add(name, kernel);
            }

            return kernel;
        }
    }

    /// <summary>The address of a variable of global or constant memory.</summary>
    public bool TryAddress(string variable, out nint address) => addresses.TryGetValue(variable, out address);

    /// <summary>Whether a range lies in one of the module's variables.</summary>
    public bool Contains(nint address, long length)
    {
        foreach ((nint start, long size) in variables)
        {
            if (address >= start && address + length <= start + size)
            {
                return true;
            }
        }

        return false;
    }

    public void Dispose()
    {
        foreach (EmulatedKernel kernel in kernels.Values)
        {
            kernel.Dispose();
        }

        foreach ((nint address, _) in variables)
        {
            NativeMemory.AlignedFree((void*)address);
        }

        variables.Clear();
        kernels.Clear();
    }
}
