using System.CommandLine;
using System.Globalization;
using Saturn.Bench;
using Saturn.Bench.Gpu;
using Saturn.Emulator;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;
using Saturn.Training;

namespace Saturn.Cli;

/// <summary>The benches of <c>saturn bench</c> on a GPU and on the emulated one.</summary>
internal static class GpuBenchCommands
{
    /// <summary>Kernels, a table a precision: times on hardware, counts on the emulator.</summary>
    public static IEnumerable<BenchTable> Kernels(ParseResult result, Options options, string device, int rounds, bool peer, int batch, string? filter)
    {
        using Peers peers = Peers.Start(result, options, device, peer && !IsEmulated(device));
        foreach ((Precision precision, Deadline deadline) in options.TablesOf(result))
        {
            string command = $"saturn bench kernels --device {device} --precision {precision.Name()}{(filter is null ? "" : $" --filter {filter}")}";
            if (IsEmulated(device))
            {
                yield return KernelCountBench.Run(device, precision, filter, command, deadline);
                continue;
            }

            using CudaDevice opened = Open(device, precision), reference = Open(device, GpuKernelBench.ReferencePrecision(precision));
            GpuBenchOptions bench = new($"{command} --batch {batch}", options.RepetitionOf(result, rounds), deadline, peers.Eager, peers.Compiled) { RowAdded = Tell };
            yield return GpuKernelBench.Run(opened, batch, filter, bench, reference);
        }
    }

    /// <summary>Training steps, a table a precision.</summary>
    public static IEnumerable<BenchTable> Steps(ParseResult result, Options options, ModelOptions models, string device, int rounds, bool peer, string? filter)
    {
        string[] names = Words(result.GetValue(models.Model)!);
        ModelCase[] all = [.. names.SelectMany(name => ModelCase.Of(name, result.GetValue(models.Width), result.GetValue(models.Batch), result.GetValue(models.Image)))];
        ModelCase[] cases = [.. all.Where(one => one.Name.Contains(filter ?? "", StringComparison.OrdinalIgnoreCase))];
        if (cases.Length == 0)
        {
            throw new ArgumentException($"No model's name contains '{filter}'; known: {string.Join("; ", all.Select(one => one.Name))}.");
        }

        using Peers peers = Peers.Start(result, options, device, peer);
        bool recorded = result.GetValue(models.Graph) != "off";
        foreach ((Precision precision, Deadline deadline) in options.TablesOf(result))
        {
            string command = $"saturn bench steps --device {device} --precision {precision.Name()} --model {string.Join(',', names)} --width {result.GetValue(models.Width)}{(recorded ? "" : " --graph off")}";
            GpuBenchOptions bench = new(command, options.RepetitionOf(result, rounds), deadline, peers.Eager, peers.Compiled) { RowAdded = Tell };
            yield return ModelStepBench.Run(() => Open(device, precision), cases, bench, recorded);
        }
    }

    /// <summary>An edited kernel file against the built-in one.</summary>
    public static BenchTable EditedKernel(string file, string device, Precision precision, Repetition repetition, Deadline deadline, int batch, double tolerance)
    {
        if (!File.Exists(file))
        {
            throw new FileNotFoundException($"There is no file '{file}'. Copy one of kernels/*.cu, keep its name, and edit the copy.");
        }

        KernelReplacement replacement = new(Path.GetFileName(file), File.ReadAllText(file));
        GpuBenchOptions bench = new($"saturn bench kernel {file} --device {device} --precision {precision.Name()}", repetition, deadline);
        MemoryTraffic? traffic = IsEmulated(device) ? new MemoryTraffic() : null;
        using CudaDevice builtIn = Open(device, precision, traffic, null);
        using CudaDevice edited = Open(device, precision, traffic, replacement);
        return EditedKernelBench.Run(replacement.FileName, builtIn, edited, batch, tolerance, traffic, bench);
    }

    /// <summary>Convolutions by warpgroups against convolutions by warps.</summary>
    public static BenchTable Warpgroups(string device, Repetition repetition, Deadline deadline, int batch, string? filter)
    {
        GpuBenchOptions bench = new($"saturn bench wgmma --device {device}{(filter is null ? "" : $" --filter {filter}")} --batch {batch}", repetition, deadline) { RowAdded = Tell };
        MemoryTraffic? traffic = IsEmulated(device) ? new MemoryTraffic() : null;
        using CudaDevice warps = OpenEither(false), warpgroups = OpenEither(true);
        return WarpgroupBench.Run(warps, warpgroups, batch, filter, traffic, bench);

        CudaDevice OpenEither(bool byWarpgroups) => traffic is null
            ? new CudaDevice(device, LibCudaDriver.Open(), OrdinalOf(device), Precision.Bf16, warpgroups: byWarpgroups)
            : KernelCountBench.Open(device, Precision.Bf16, traffic, warpgroups: byWarpgroups);
    }

    private static int OrdinalOf(string device) =>
        device == "cuda" ? 0
        : device.StartsWith("cuda:", StringComparison.Ordinal) && int.TryParse(device.AsSpan("cuda:".Length), NumberStyles.None, CultureInfo.InvariantCulture, out int ordinal) ? ordinal
        : throw new ArgumentException($"This bench runs on a GPU, such as cuda:0, or an emulated one, but the device is '{device}'.");

    // The table comes at the end; a bench on a GPU takes minutes, and may be ended before.
    private static void Tell(IReadOnlyList<string> row) => Console.Error.WriteLine(string.Join(" | ", row));

    private static bool IsEmulated(string device) => device.StartsWith("emulated", StringComparison.Ordinal);

    private static CudaDevice Open(string name, Precision precision)
    {
        Device device = Devices.Open(name, null, precision);
        if (device is CudaDevice cuda)
        {
            return cuda;
        }

        device.Dispose();
        throw new ArgumentException($"This bench runs on a GPU or the emulated one, without SATURN_DEBUG=2, SATURN_SYNC, SATURN_TRACE and SATURN_VALIDATE, but '{name}' is {device.GetType().Name}.");
    }

    // Devices whose kernels are replaced or counted are not opened by name alone.
    private static CudaDevice Open(string name, Precision precision, MemoryTraffic? traffic, KernelReplacement? replacement)
    {
        if (traffic is not null)
        {
            return KernelCountBench.Open(name, precision, traffic, replacement);
        }

        if (replacement is null)
        {
            return Open(name, precision);
        }

        return new CudaDevice(name, LibCudaDriver.Open(), OrdinalOf(name), precision, replacement);
    }

    /// <summary>The option that bounds repetitions.</summary>
    public static Option<int> AddRepetitions(Command command) => TrainCommand.Add(command, "--repetitions", "On a GPU: timed repetitions of each side's round, at most; each is a batch of calls or steps.", 30);

    /// <summary>The option that bounds the time.</summary>
    public static Option<double?> AddSeconds(Command command) => TrainCommand.Add<double?>(command, "--seconds", "On a GPU, real or emulated: begin no further row after this time (default: no end).", null);

    /// <summary>What it says.</summary>
    public static Deadline DeadlineOf(ParseResult result, Option<double?> seconds) => new(result.GetValue(seconds) ?? double.PositiveInfinity);

    private static string[] Words(string text) => text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);

    private static Option<string> AddPrecisions(Command command)
    {
        string[] known = [.. Enum.GetValues<Precision>().Select(one => one.Name())];
        Option<string> option = TrainCommand.Add(
            command, "--precision", "Arithmetic of a CUDA device: fp32, tf32 (products on tensor cores), bf16 (activations between convolutions in bfloat16 too), or several with commas between them, a table each.", known[0]);
        option.Validators.Add(result =>
        {
            string text = result.Tokens.FirstOrDefault()?.Value ?? known[0];
            string[] words = Words(text);
            if (words.Length == 0 || words.Except(known).Any())
            {
                result.AddError($"{option.Name} must be one or more of {string.Join(", ", known)}, with commas between them, but is '{text}'.");
            }
        });
        return option;
    }

    /// <summary>Options that the benches on GPUs have in common.</summary>
    public sealed record Options(Option<string> Precision, Option<int> Repetitions, Option<double?> Seconds, Option<bool> Compiled, Option<double> Patience)
    {
        public static Options AddTo(Command command) => new(
            AddPrecisions(command),
            AddRepetitions(command),
            AddSeconds(command),
            TrainCommand.Add(command, "--compiled", "On a GPU: measure torch.compile(mode=\"max-autotune\") too, which takes minutes to compile.", false),
            TrainCommand.Add(command, "--patience", "On a GPU: seconds that PyTorch may take for one request, compilation included.", 300.0));

        public Precision[] PrecisionsOf(ParseResult result) => [.. Words(result.GetValue(Precision)!).Select(word => Enum.Parse<Precision>(word, ignoreCase: true)).Distinct()];

        /// <summary>The precisions, each with an even share of the time that is left when its turn comes.</summary>
        public IEnumerable<(Precision Precision, Deadline Deadline)> TablesOf(ParseResult result)
        {
            Deadline whole = DeadlineOf(result, Seconds);
            Precision[] precisions = PrecisionsOf(result);
            for (int i = 0; i < precisions.Length; i++)
            {
                yield return (precisions[i], new Deadline(whole.SecondsLeft / (precisions.Length - i)));
            }
        }

        public Repetition RepetitionOf(ParseResult result, int rounds) => new(rounds, 1, result.GetValue(Repetitions));
    }

    /// <summary>Which models take steps.</summary>
    public sealed record ModelOptions(Option<string> Model, Option<int> Width, Option<int?> Batch, Option<int?> Image, Option<string> Graph)
    {
        public static ModelOptions AddTo(Command command) => new(
            TrainCommand.Add(command, "--model", "On a GPU: resnet18, resnet50, vgg16, with commas between them.", "resnet18,vgg16,resnet50"),
            TrainCommand.Add(command, "--width", "On a GPU: dense channels of the first stage.", 64),
            TrainCommand.Add<int?>(command, "--batch", "On a GPU: images a step (default: 128, of resnet50 64).", null),
            TrainCommand.Add<int?>(command, "--image", "On a GPU: pixels of a side (default: 32, of resnet50 224).", null),
            TrainCommand.Add(
                command, "--graph", "On a GPU: on repeats recorded steps as one CUDA graph each, as training does, and measures steps that are launched call by call beside them; off measures the latter alone.", "on")
                .Accept("on", "off"));
    }

    /// <summary>PyTorch's processes.</summary>
    private sealed class Peers : IDisposable
    {
        private readonly List<PeerProcess> processes = [];

        public PeerSide? Eager { get; private set; }

        public PeerSide? Compiled { get; private set; }

        public static Peers Start(ParseResult result, Options options, string device, bool wanted)
        {
            Peers peers = new();
            try
            {
                if (wanted)
                {
                    peers.Eager = peers.Side(device, result.GetValue(options.Patience), compiled: false);
                    peers.Compiled = result.GetValue(options.Compiled) ? peers.Side(device, result.GetValue(options.Patience), compiled: true) : null;
                }

                return peers;
            }
            catch
            {
                peers.Dispose();
                throw;
            }
        }

        public void Dispose() => processes.ForEach(process => process.Dispose());

        // Beside the emulated GPU, PyTorch runs on the host: only the way of talking is tried out then.
        private PeerSide Side(string device, double patience, bool compiled)
        {
            PeerProcess process = PeerProcess.StartTorchOnGpu(IsEmulated(device) ? "cpu" : device == "cuda" ? "cuda:0" : device, TimeSpan.FromSeconds(patience));
            processes.Add(process);
            return new PeerSide(process, compiled);
        }
    }
}
