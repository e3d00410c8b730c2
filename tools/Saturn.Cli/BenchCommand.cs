using System.CommandLine;
using Saturn.Bench;
using Saturn.Kernels;
using Saturn.Training;

namespace Saturn.Cli;

/// <summary><c>saturn bench</c>: kernels and whole steps, beside PyTorch where it is installed.</summary>
internal static class BenchCommand
{
    public static Command Create()
    {
        Command command = new("bench", "Measure kernels or whole training steps, in turn with PyTorch where it is installed (tools/install-peers.sh).");
        command.Subcommands.Add(CreateKernels());
        command.Subcommands.Add(CreateKernel());
        command.Subcommands.Add(CreateWarpgroups());
        command.Subcommands.Add(CreateSteps());
        command.Subcommands.Add(CreateLaunches());
        command.Subcommands.Add(CreateEmulator());
        command.Subcommands.Add(CreatePeak());
        return command;
    }

    private static Command CreateKernels()
    {
        Command command = new("kernels", "Convolutions in all three passes, and the kernels that memory bounds: times and shares of the machine's limits on the CPU or a GPU, counts on an emulated GPU.");
        var (device, threads, rounds, noPeer, output) = CommonOptions(command, 7);
        Option<int?> batch = TrainCommand.Add<int?>(command, "--batch", "Images (default: 32 on the CPU, 128 on a GPU).", null);
        Option<string?> filter = TrainCommand.Add<string?>(command, "--filter", "Only layers whose name contains this; on a GPU, real or emulated, only kernels whose name or family contains one of these words, with commas between them.", null);
        GpuBenchCommands.Options gpu = GpuBenchCommands.Options.AddTo(command);
        command.SetAction(result =>
        {
            if (result.GetValue(device) != "cpu")
            {
                foreach (BenchTable table in GpuBenchCommands.Kernels(result, gpu, result.GetValue(device)!, result.GetValue(rounds), !result.GetValue(noPeer), result.GetValue(batch) ?? 128, result.GetValue(filter)))
                {
                    Print(table, result, output);
                }

                return 0;
            }

            int images = result.GetValue(batch) ?? 32;
            using Device opened = Devices.Open(result.GetValue(device)!, result.GetValue(threads), gpu.PrecisionsOf(result).Max());
            using PeerProcess? peer = result.GetValue(noPeer) ? null : PeerProcess.StartTorch();
            KernelBenchOptions options = new(
                $"saturn bench kernels --batch {images}", result.GetValue(threads) ?? Environment.ProcessorCount, new Repetition(result.GetValue(rounds), 1, 5), peer,
                result.GetValue(filter));
            Print(ConvolutionBench.Run(opened, ConvolutionBench.Layers(images), options), result, output);
            Print(MemoryBoundBench.Run(opened, images, options), result, output);
            return 0;
        });
        return command;
    }

    private static Command CreateKernel()
    {
        Command command = new("kernel", "An edited copy of one of the kernel files (saturn kernels list) against the file itself: first the results, then the times, or on the emulated GPU the counts.");
        Argument<string> file = new("file") { Description = "The edited file; its name tells which one it replaces." };
        command.Arguments.Add(file);
        Option<string> device = TrainCommand.Add(command, "--device", "Where to run: cuda:N, emulated, emulated:fast or emulated:sm_90a.", "cuda:0");
        Option<int> rounds = TrainCommand.Add(command, "--rounds", "Rounds in which the two sides take turns.", 5);
        Option<int> batch = TrainCommand.Add(command, "--batch", "Images.", 128);
        Option<double> tolerance = TrainCommand.Add(command, "--tolerance", "Relative error that is allowed between the two files' results; 0 asks for equal bits.", 0.0);
        Option<string> precision = TrainCommand.AddPrecision(command);
        Option<int> repetitions = GpuBenchCommands.AddRepetitions(command);
        Option<double?> seconds = GpuBenchCommands.AddSeconds(command);
        OutputOptions output = OutputOptions.AddTo(command);
        command.SetAction(result =>
        {
            Print(
                GpuBenchCommands.EditedKernel(
                    result.GetValue(file)!, result.GetValue(device)!, TrainCommand.PrecisionOf(result, precision), new Repetition(result.GetValue(rounds), 1, result.GetValue(repetitions)),
                    GpuBenchCommands.DeadlineOf(result, seconds), result.GetValue(batch), result.GetValue(tolerance)), result, output);
            return 0;
        });
        return command;
    }

    private static Command CreateWarpgroups()
    {
        Command command = new(
            "wgmma", "Convolutions in bf16 by products of warpgroups (wgmma, which SATURN_WGMMA=1 turns on) against those of warps (mma.sync), on a GPU of compute capability 9.0; on emulated:sm_90a, the counts.");
        Option<string> device = TrainCommand.Add(command, "--device", "Where to run: cuda:N or emulated:sm_90a.", "cuda:0");
        Option<int> rounds = TrainCommand.Add(command, "--rounds", "Rounds in which the two sides take turns.", 5);
        Option<int> batch = TrainCommand.Add(command, "--batch", "Images.", 128);
        Option<string?> filter = TrainCommand.Add<string?>(command, "--filter", "Only kernels whose name or family contains one of these words, with commas between them.", null);
        Option<int> repetitions = GpuBenchCommands.AddRepetitions(command);
        Option<double?> seconds = GpuBenchCommands.AddSeconds(command);
        OutputOptions output = OutputOptions.AddTo(command);
        command.SetAction(result =>
        {
            Print(
                GpuBenchCommands.Warpgroups(
                    result.GetValue(device)!, new Repetition(result.GetValue(rounds), 1, result.GetValue(repetitions)), GpuBenchCommands.DeadlineOf(result, seconds), result.GetValue(batch),
                    result.GetValue(filter)), result, output);
            return 0;
        });
        return command;
    }

    private static Command CreateSteps()
    {
        Command command = new("steps", "Whole training steps, dense and at fewer channels: time, images a second, memory. On the CPU of ResNet-18 on 32×32 images; on a GPU of ResNet-18, VGG-16 and ResNet-50, as recorded graphs and launched call by call.");
        command.Aliases.Add("step");
        var (device, threads, rounds, noPeer, output) = CommonOptions(command, 7);
        Option<string?> filter = TrainCommand.Add<string?>(command, "--filter", "Only networks whose name contains this.", null);
        GpuBenchCommands.Options gpu = GpuBenchCommands.Options.AddTo(command);
        GpuBenchCommands.ModelOptions models = GpuBenchCommands.ModelOptions.AddTo(command);
        command.SetAction(result =>
        {
            if (result.GetValue(device) != "cpu")
            {
                foreach (BenchTable table in GpuBenchCommands.Steps(result, gpu, models, result.GetValue(device)!, result.GetValue(rounds), !result.GetValue(noPeer), result.GetValue(filter)))
                {
                    Print(table, result, output);
                }

                return 0;
            }

            using Device opened = Devices.Open(result.GetValue(device)!, result.GetValue(threads), gpu.PrecisionsOf(result).Max());
            using PeerProcess? peer = result.GetValue(noPeer) ? null : PeerProcess.StartTorch();
            StepCase[] cases = [.. StepCase.Default.Where(one => one.Name.Contains(result.GetValue(filter) ?? "", StringComparison.OrdinalIgnoreCase))];
            if (cases.Length == 0)
            {
                throw new ArgumentException($"No network's name contains '{result.GetValue(filter)}'; known: {string.Join("; ", StepCase.Default.Select(one => one.Name))}.");
            }

            StepBenchOptions options = new(
                "saturn bench steps", $"{opened.Name} ({opened.Description})", result.GetValue(threads) ?? Environment.ProcessorCount, new Repetition(result.GetValue(rounds), 1, 3));
            Print(
                StepBench.Run(cases, one => one.Open(opened), peer, one => FreshProcess.Measure(["bench", "peak", one.Name, "--device", opened.Name]), options),
                result, output);
            return 0;
        });
        return command;
    }

    private static Command CreateLaunches()
    {
        Command command = new("launches", "What a kernel launch costs: through Saturn alone, in the driver, and from a graph.");
        Option<string> device = TrainCommand.Add(command, "--device", $"Where to run: {string.Join(", ", Devices.Names)}.", "cpu");
        Option<int> rounds = TrainCommand.Add(command, "--rounds", "Rounds of measurement.", 7);
        OutputOptions output = OutputOptions.AddTo(command);
        command.SetAction(result =>
        {
            using Device opened = Devices.Open(result.GetValue(device)!);
            Print(LaunchBench.Run(opened, $"saturn bench launches --device {opened.Name}", new Repetition(result.GetValue(rounds), 0, 3)), result, output);
            return 0;
        });
        return command;
    }

    private static Command CreateEmulator()
    {
        Command command = new("emulator", "How fast the emulated GPU interprets, with and without checks.");
        Option<int> rounds = TrainCommand.Add(command, "--rounds", "Rounds of measurement; the fastest counts.", 60);
        OutputOptions output = OutputOptions.AddTo(command);
        command.SetAction(result =>
        {
            Print(EmulatorBench.Run(result.GetValue(rounds)), result, output);
            return 0;
        });
        return command;
    }

    private static Command CreatePeak()
    {
        Command command = new("peak", "Run three training steps of one network of 'steps' and print the process's peak memory in bytes.");
        Argument<string> name = new("network") { Description = "The network's name in the table of 'steps'." };
        command.Arguments.Add(name);
        Option<string> device = TrainCommand.Add(command, "--device", "Where to run.", Devices.Default);
        command.SetAction(result =>
        {
            StepCase network = StepCase.Default.FirstOrDefault(one => one.Name == result.GetValue(name))
                ?? throw new ArgumentException($"Unknown network '{result.GetValue(name)}'; known: {string.Join("; ", StepCase.Default.Select(one => one.Name))}.");
            using Device opened = Devices.Open(result.GetValue(device)!);
            using ModelStepWorkload workload = network.Open(opened);
            for (int i = 0; i < 3; i++)
            {
                workload.Step();
            }

            Console.WriteLine(Machine.PeakResidentBytes());
            return 0;
        });
        return command;
    }

    private static (Option<string> Device, Option<int?> Threads, Option<int> Rounds, Option<bool> NoPeer, OutputOptions Output) CommonOptions(Command command, int rounds) =>
    (
        TrainCommand.Add(command, "--device", $"Where to run: {string.Join(", ", Devices.Names)}.", Devices.Default),
        TrainCommand.Add<int?>(command, "--threads", "Worker threads (default: one a processor).", null),
        TrainCommand.Add(command, "--rounds", "Rounds in which the two sides take turns.", rounds),
        TrainCommand.Add(command, "--no-peer", "Measure Saturn alone, without PyTorch.", false),
        OutputOptions.AddTo(command));

    private static void Print(BenchTable table, ParseResult result, OutputOptions output)
    {
        Console.WriteLine(result.GetValue(output.Markdown) ? table.ToMarkdown() : table.ToPlainText());
        if (result.GetValue(output.Json) is { } file)
        {
            File.AppendAllText(file, table.ToJson() + "\n");
        }
    }

    private readonly record struct OutputOptions(Option<bool> Markdown, Option<string?> Json)
    {
        public static OutputOptions AddTo(Command command) => new(
            TrainCommand.Add(command, "--markdown", "Print Markdown tables.", false),
            TrainCommand.Add<string?>(command, "--json", "Also append each table to this file, one line of JSON a table.", null));
    }
}
