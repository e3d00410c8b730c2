using System.Buffers.Binary;
using System.Text;
using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Checkpoints;
using Saturn.Kernels;
using Saturn.Layers;
using Saturn.Layers.Models;
using Saturn.Tests.Engine;

namespace Saturn.Tests.Layers;

/// <summary>Weights files: the format, what is refused and how, and the layout of other frameworks.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class WeightsFileTests(string device) : EngineTest(device)
{
    private static readonly ModelRecipe Recipe = new("resnet18", 3, 4, 16, 16, 3);

    private string path = "";

    [SetUp]
    public void ChooseFile() => path = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"weights-{Guid.NewGuid():n}.safetensors");

    [TearDown]
    public void DeleteFile() => File.Delete(path);

    [Test]
    public void Arrays_come_back_as_they_were()
    {
        Dictionary<string, SafeTensor> tensors = new()
        {
            ["matrix"] = new([2, 3], [1, -2, float.Epsilon, float.MaxValue, -0f, 6]),
            ["scalar"] = new([], [7]),
            ["empty"] = new([0, 4], []),
            ["na\"me ü"] = new([1], [8]),
        };
        SafeTensors.Write(path, tensors);
        Dictionary<string, SafeTensor> read = SafeTensors.Read(path);
        Assert.That(read.Keys, Is.EqualTo(tensors.Keys));
        foreach (var (name, tensor) in tensors)
        {
            Assert.That(read[name].Shape, Is.EqualTo(tensor.Shape), name);
            Assert.That(read[name].Values.Select(BitConverter.SingleToInt32Bits), Is.EqualTo(tensor.Values.Select(BitConverter.SingleToInt32Bits)), name);
        }

        Assert.That(Directory.GetFiles(TestContext.CurrentContext.WorkDirectory, Path.GetFileName(path) + "*"), Has.Length.EqualTo(1), "no temporary file remains");
        Assert.That(() => SafeTensors.Write(path, new Dictionary<string, SafeTensor> { ["a"] = new([2], [1]) }), Throws.ArgumentException.With.Message.Contains("[2]"));
        Assert.That(SafeTensors.Read(path), Has.Count.EqualTo(4), "a failed write leaves the old file");
    }

    [Test]
    public void Counters_are_read_over()
    {
        WriteRaw("""{"__metadata__":{"format":"pt"},"n":{"dtype":"I64","shape":[],"data_offsets":[4,12]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 12);
        Assert.That(SafeTensors.Read(path).Keys, Is.EqualTo((string[])["a"]));
    }

    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 4, "8 bytes, but 4 bytes", TestName = "Truncated data")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 9, "8 bytes, but 9 bytes", TestName = "Trailing data")]
    [TestCase("""{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}""", 4, "a as F16", TestName = "Wrong type")]
    [TestCase("""{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}""", 8, "takes 12 bytes", TestName = "Shape and length differ")]
    [TestCase("""{"a":{"dtype":"F32","shape":[-1],"data_offsets":[4,0]}}""", 4, "extent -1", TestName = "Negative extent")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2147483647,2147483647,2147483647],"data_offsets":[0,8]}}""", 8, "cannot be read", TestName = "Overflowing shape")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8, "b must begin at byte 8", TestName = "Overlap")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}""", 12, "b must begin at byte 4", TestName = "Gap")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8, "a twice", TestName = "Double name")]
    [TestCase("""{"a":{"shape":[1],"data_offsets":[0,4]}}""", 4, "header cannot be read", TestName = "No type")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}""", 4, "header cannot be read", TestName = "One offset")]
    [TestCase("""{"a":""", 4, "header cannot be read", TestName = "Broken header")]
    [TestCase("""[1]""", 4, "header cannot be read", TestName = "Header of another kind")]
    public void Bad_files_are_refused_in_one_sentence(string header, int dataLength, string message)
    {
        WriteRaw(header, dataLength);
        Assert.That(() => SafeTensors.Read(path), Throws.TypeOf<CheckpointException>().With.Message.Contains(message).And.Message.Contains(path));
    }

    [TestCase(0L)]
    [TestCase(-1L)]
    [TestCase(100L)]
    [TestCase(long.MaxValue)]
    [TestCase(200_000_000L)]
    public void Headers_of_impossible_length_are_refused(long length)
    {
        byte[] bytes = new byte[50];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, length);
        File.WriteAllBytes(path, bytes);
        Assert.That(() => SafeTensors.Read(path), Throws.TypeOf<CheckpointException>().With.Message.Contains($"announces {length}").And.Message.Contains("2 to 42"));
    }

    [Test]
    public void A_missing_or_tiny_file_is_named()
    {
        Assert.That(() => SafeTensors.Read(path), Throws.TypeOf<CheckpointException>().With.Message.Contains("does not exist"));
        File.WriteAllBytes(path, [1, 2, 3]);
        Assert.That(() => SafeTensors.Read(path), Throws.TypeOf<CheckpointException>().With.Message.Contains("the file has 3"));
    }

    [Test]
    public void A_model_comes_back_bit_for_bit([Values("resnet18", "cnn", "mlp", "vgg16")] string name)
    {
        ModelRecipe recipe = Recipe with { Name = name, Width = name == "vgg16" ? 1 : 3, InputHeight = name == "vgg16" ? 64 : 16, InputWidth = name == "vgg16" ? 96 : 12 };
        using Model source = ModelFactory.Create(recipe, Device);
        source.Initialize(1);
        ModelWeights.Save(source, path);
        using Model target = ModelFactory.Create(recipe, Device);
        target.Initialize(2);
        ModelWeights.Load(target, path);
        foreach (var (a, b) in source.Parameters.Zip(target.Parameters))
        {
            Assert.That(b.Value.ToArray(), Is.EqualTo(a.Value.ToArray()), a.Name);
        }
    }

    [Test]
    public void Filters_and_flattened_columns_have_the_order_of_other_frameworks()
    {
        using Model model = ModelFactory.Create(new ModelRecipe("cnn", 2, 3, 8, 12, 1), Device);
        Parameter filter = model.Parameters.Single(parameter => parameter.Name == "conv2.weight");
        Parameter matrix = model.Parameters.Single(parameter => parameter.Name == "fc1.weight");
        foreach (Parameter parameter in model.Parameters)
        {
            parameter.Value.CopyFrom([.. Enumerable.Range(0, (int)parameter.Shape.ElementCount).Select(i => (float)i)]);
        }

        ModelWeights.Save(model, path);
        Dictionary<string, SafeTensor> file = SafeTensors.Read(path);

        // Element (o, i, h, w) of the file is element (o, h, w, i) here; the value tells where it was: 3×3 taps, 2 inputs.
        Assert.That(file["conv2.weight"].Shape, Is.EqualTo((int[])[4, 2, 3, 3]));
        Assert.That(file["conv2.weight"].Values[(((3 * 2) + 1) * 3 + 2) * 3 + 0], Is.EqualTo((((3 * 3) + 2) * 3 + 0) * 2 + 1));

        // Column (c, h, w) of the file is column (h, w, c) here: images of 2×3 with 4 channels after two poolings.
        Assert.That(file["fc1.weight"].Shape, Is.EqualTo((int[])[8, 24]));
        Assert.That(file["fc1.weight"].Values[5 * 24 + (3 * 2 + 0) * 3 + 1], Is.EqualTo(5 * 24 + (0 * 3 + 1) * 4 + 3));
        Assert.That(filter.Shape, Is.EqualTo(new Shape(4, 3, 3, 2)));
        Assert.That(matrix.FlattenedImage, Is.EqualTo((2, 3)));
    }

    [Test]
    public void Names_and_shapes_must_agree()
    {
        using Model model = ModelFactory.Create(Recipe, Device);
        using Model deeper = ModelFactory.Create(Recipe with { Name = "resnet34" }, Device);
        using Model wider = ModelFactory.Create(Recipe with { Width = 4 }, Device);
        model.Initialize(1);
        deeper.Initialize(1);
        wider.Initialize(1);
        ModelWeights.Save(model, path);
        float[] before = deeper.Parameters.First().Value.ToArray();
        Assert.That(() => ModelWeights.Load(deeper, path), Throws.TypeOf<CheckpointException>().With.Message.Contains("lacks").And.Message.Contains("layer1.2.conv1.weight"));
        Assert.That(() => ModelWeights.Load(wider, path), Throws.TypeOf<CheckpointException>().With.Message.Contains("conv1.weight has shape [3, 3, 3, 3] there, but [4, 3, 3, 3] here"));
        Assert.That(deeper.Parameters.First().Value.ToArray(), Is.EqualTo(before));
        ModelWeights.Save(deeper, path);
        before = model.Parameters.First().Value.ToArray();
        deeper.Initialize(2);
        Assert.That(() => ModelWeights.Load(model, path), Throws.TypeOf<CheckpointException>().With.Message.Contains("more, layer1.2.conv1.weight"));
        Assert.That(model.Parameters.First().Value.ToArray(), Is.EqualTo(before), "a file that is refused changes nothing");
    }

    [Test]
    public void A_shrunken_network_comes_back_from_its_plan()
    {
        ChannelPlan plan = new(new Dictionary<string, int> { ["layer1.0"] = 2, ["layer2.1.conv1"] = 0, ["layer3.0"] = 5, ["conv1"] = 1 });
        using Model source = ModelFactory.Create(Recipe, Device, plan);
        source.Initialize(1);
        ModelWeights.Save(source, path);
        Dictionary<string, int> channels = source.Activities.ToDictionary(activity => activity.Name, activity => activity.Channels);
        using Model target = ModelFactory.Create(Recipe, Device, new ChannelPlan(channels));
        ModelWeights.Load(target, path);
        Assert.That(target.Activities.ToDictionary(activity => activity.Name, activity => activity.Channels), Is.EqualTo(channels));
        Assert.That(Logits(target), Is.EqualTo(Logits(source)));
    }

    private float[] Logits(Model model)
    {
        model.SetTraining(false);
        using InferenceScope inference = new();
        using TensorScope scope = new();
        return model.Forward(Tensor.Uniform(Device, model.Recipe.InputShape(2), new(1, 2, 3))).ToArray();
    }

    private void WriteRaw(string header, int dataLength)
    {
        byte[] text = Encoding.UTF8.GetBytes(header);
        byte[] bytes = new byte[8 + text.Length + dataLength];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, text.Length);
        text.CopyTo(bytes, 8);
        File.WriteAllBytes(path, bytes);
    }
}
